"""`cgbpf rank`: one ranking of the next seconds."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cgbpf.cli.options import (
    Measuring,
    import_tables,
    opened,
    recipe_options,
    source_options,
    verbosity,
    warn,
    warn_of_losses,
)
from cgbpf.errors import BadRequest
from cgbpf.hierarchy import HIERARCHIES
from cgbpf.model import Recipe
from cgbpf.report.text import shown

if TYPE_CHECKING:
    from cgbpf.sources.base import Source

EPILOG = """\b
Examples:
  cgbpf rank --limit 5
  cgbpf rank --window 10 --format csv
  args=$(cgbpf rank --limit 3 --format perf) && eval "perf record -a $args -- sleep 10"
"""


@click.command("rank", epilog=EPILOG)
@recipe_options(limit=20)
@source_options
@click.option(
    "--replay",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Rank a run that --save kept instead of this host.",
)
@click.option(
    "--hierarchy",
    type=click.Choice(HIERARCHIES),
    default="auto",
    show_default=True,
    help="What to rank; auto is where perf looks names up.",
)
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv", "perf"]), default="table",
    show_default=True,
    help="perf prints arguments for `perf record -a`; use eval where a name needs quotes.",
)  # fmt: skip
@click.option("--per-cpu", is_flag=True, help="Each unit's time on each CPU, too.")
@verbosity
def command(
    recipe: Recipe, measuring: Measuring, form: str, per_cpu: bool
) -> None:  # fmt: skip
    """Rank the hottest cgroups of the next seconds.

    CPU time is exact where BPF can run: slices in flight are counted, and
    what dies in the window is, too.
    """
    from cgbpf.recipe import check_recipe

    check_recipe(recipe)
    if form == "perf" and measuring.hierarchy != "auto":
        raise BadRequest("--format perf goes not with --hierarchy", "perf looks in its own only")
    with opened(measuring) as chosen:
        from cgbpf.pipeline import observe, ranking, require_rows
        from cgbpf.report import ranking as report

        observed = observe(chosen, measuring.window, meanwhile=import_tables)
        result = ranking(observed, recipe, chosen, for_perf=form == "perf")
        if measuring.hierarchy != "auto":  # perf knows other names
            rows = [replace(row, perf_cgroup=None) for row in result.rows]
            result = replace(result, rows=rows)
        if form != "json":
            require_rows(result, recipe)
        warn_of_losses(observed.probe)
        if form == "json":
            click.echo(report.as_json(result, chosen, per_cpu))
        elif form == "csv":
            click.echo(report.as_csv(result, per_cpu), nl=False)
        elif form == "perf":
            from cgbpf.perf.argv import cgroup_arguments
            from cgbpf.perf.events import default_event

            names = [row.perf_cgroup or "" for row in result.rows]
            arguments = cgroup_arguments([default_event()], names)
            _echo_arguments(report.as_perf_arguments(arguments))
            for path, reason in result.dropped:
                warn(f"left out {path}: {reason}")
        else:
            from cgbpf.report.table import host_line, lines, ranking_table

            click.echo(lines(ranking_table(result, per_cpu)))
            click.echo(host_line(result, _counted_by(chosen)))
    if form == "json":
        require_rows(result, recipe)


def _echo_arguments(arguments: str) -> None:
    """As bytes, since what a name is made of must reach perf unchanged; but a
    terminal is shown no escape sequence.
    """
    if sys.stdout.isatty():
        click.echo(shown(arguments))
    else:
        click.echo(os.fsencode(arguments))


def _counted_by(source: Source) -> str:
    origin = getattr(source, "origin", None)
    return f"{origin}, replayed" if origin else source.kind
