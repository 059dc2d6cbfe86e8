"""Tables for people, on whatever stdout is."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Sequence
from typing import Literal

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cgbpf.model import Ranking, Row
from cgbpf.report.text import shown

_GAP = 3
_LEAST = 12
_UNLIMITED = 100_000
"""Columns for rich, which would cut numbers, too: what has to be cut is cut before."""


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is, None if it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def lines(table: Table) -> str:
    """A table as text, one line a row. Numbers are never cut, whatever the width."""
    text = io.StringIO()
    Console(file=text, width=_UNLIMITED, highlight=False, markup=False, emoji=False).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def number(value: float | None, digits: int = 1) -> str:
    return "NA" if value is None else f"{value:.{digits}f}"


def mebibytes(value: int | None) -> str:
    return "NA" if value is None else f"{value / (1 << 20):.1f}"


def grid(headings: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[str]) -> Table:
    """A plain table, one line a row; the columns named in `left` are text.

    Cells are shown as they are, never as markup, with unsafe characters
    escaped. Where they are too wide for a terminal, the last column is cut
    first, and left out where next to nothing of it would be left.
    """
    cells = [[shown(cell) for cell in row] for row in rows]
    headings, cells = _fitted(list(headings), cells, terminal_width())
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in headings:
        justify: Literal["left", "right"] = "left" if heading in left else "right"
        table.add_column(heading, justify=justify, overflow="ellipsis", no_wrap=True)
    for row in cells:
        table.add_row(*map(Text, row))
    return table


def _fitted(
    headings: list[str], rows: list[list[str]], width: int | None
) -> tuple[list[str], list[list[str]]]:
    """Headings and rows with the last column cut to what is left of `width`."""
    if width is None:
        return headings, rows
    columns = list(zip(headings, *rows, strict=True))
    taken = sum(max(map(cell_len, column)) + _GAP for column in columns[:-1])
    left = width - taken
    if left < _LEAST:
        return headings[:-1], [row[:-1] for row in rows]
    return headings, [[*row[:-1], _cut(row[-1], left)] for row in rows]


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def ranking_table(result: Ranking, per_cpu: bool = False) -> Table:
    """The ranked units, hottest first."""
    headings = ["NAME", "KIND", "CPU%", "HOST%", "SWITCHES", "MEM MiB"]
    rows = [_cells(row) for row in result.rows]
    if result.score != "cpu":
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
