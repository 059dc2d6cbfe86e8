"""Tables for people, on whatever stdout is."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cgbpf.model import Ranking, Row
from cgbpf.report.text import shown

_PIPE_WIDTH = 200
"""Columns where there is no terminal to ask: nothing is cut short."""


class Screen(Console):
    """Raises BrokenPipeError like any other writer, where rich would exit."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console() -> Console:
    """stdout, without colours or cutting where it is no terminal."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPE_WIDTH
    return Screen(width=width, highlight=False, markup=False, emoji=False)


def number(value: float | None, digits: int = 1) -> str:
    return "NA" if value is None else f"{value:.{digits}f}"


def mebibytes(value: int | None) -> str:
    return "NA" if value is None else f"{value / (1 << 20):.1f}"


def grid(headings: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[str]) -> Table:
    """A plain table; the columns named in `left` are text, the others numbers.

    Cells are shown as they are, never as markup, with unsafe characters escaped.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in headings:
        table.add_column(
            heading,
            justify="left" if heading in left else "right",
            overflow="fold" if heading in left else "ellipsis",
            no_wrap=heading not in left,
        )
    for row in rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    return table


def ranking_table(result: Ranking, per_cpu: bool = False) -> Table:
    """The ranked units, hottest first."""
    headings = ["NAME", "KIND", "CPU%", "HOST%", "SWITCHES", "MEM MiB"]
    rows = [_cells(row) for row in result.rows]
    if any(row.score != row.cpu_percent for row in result.rows):
        headings.append("SCORE")
        rows = [[*cells, number(row.score)] for cells, row in zip(rows, result.rows, strict=True)]
    if per_cpu:
        width = max((len(row.cpu_ns_by_cpu or ()) for row in result.rows), default=0)
        headings += [f"CPU{index} ms" for index in range(width)]
        rows = [
            [*cells, *(f"{ns / 1e6:.1f}" for ns in row.cpu_ns_by_cpu or ())]
            for cells, row in zip(rows, result.rows, strict=True)
        ]
    headings.append("CGROUP")
    rows = [[*cells, row.path] for cells, row in zip(rows, result.rows, strict=True)]
    return grid(headings, rows, left=("NAME", "KIND", "CGROUP"))


def _cells(row: Row) -> list[str]:
    return [
        row.name if row.alive else f"{row.name} (gone)",
        row.kind,
        number(row.cpu_percent),
        number(row.host_percent),
        "NA" if row.switches is None else str(row.switches),
        mebibytes(row.memory_bytes),
    ]


def host_line(result: Ranking, source: str) -> str:
    """One line that closes the account of the window."""
    observed = result.interval
    total = max(observed.total_ns, 1)

    def percent(ns: int) -> str:
        return f"{100 * ns / total:.1f}%"

    return (
        f"{observed.cpus} CPUs x {observed.window_s:.2f} s, counted by {source}: "
        f"units {percent(result.units_ns)}, root and kernel {percent(result.root_ns)}, "
        f"idle {percent(observed.idle_ns)}, unattributed {percent(observed.unattributed_ns)}"
    )
