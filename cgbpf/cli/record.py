"""`cgbpf record`: rank, then perf record -G on the hottest."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cgbpf.cli.interrupts import Interrupts
from cgbpf.cli.options import (
    Measuring,
    Seconds,
    import_tables,
    opened,
    recipe_options,
    source_options,
    verbosity,
    warn_of_losses,
)
from cgbpf.errors import BadRequest, CommandMissing
from cgbpf.model import JSON, Ranking, Recipe
from cgbpf.report.text import shown

if TYPE_CHECKING:
    from cgbpf.perf.recording import Choose, Plan, Recording
    from cgbpf.sources.base import Source

EPILOG = """\b
Examples:
  cgbpf record --limit 5 --duration 30
  cgbpf record --include 'kind:docker' --output web -- ./load-test.sh
  perf report -i web/perf.data
"""

DEFAULT_DURATION_S = 10.0


@click.command("record", epilog=EPILOG)
@recipe_options(limit=50)
@source_options
@click.option(
    "--duration",
    type=Seconds(),
    metavar="SECONDS",
    help=f"How long to record.  [default: {DEFAULT_DURATION_S:.0f}, or until COMMAND ends]",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where to; made for this user alone.  [default: cgbpf-DATE-TIME]",
)
@click.option(
    "--frequency",
    type=click.IntRange(1, 100_000),
    default=99,
    show_default=True,
    help="Samples per second and CPU.",
)
@click.option(
    "--event",
    "events",
    multiple=True,
    metavar="EVENT",
    help="What perf samples; repeatable.  [default: cycles, else cpu-clock]",
)
@click.argument("command_line", nargs=-1, metavar="[-- COMMAND]", type=click.UNPROCESSED)
@verbosity
def command(
    recipe: Recipe, measuring: Measuring, duration: float | None,
    output: Path | None, frequency: int, events: tuple[str, ...], command_line: tuple[str, ...],
) -> int:  # fmt: skip
    """Record the hottest cgroups with perf.

    Measures CPU time for --window seconds, then runs `perf record -G` on the
    hottest units only. The directory then holds perf.data, for perf itself,
    and manifest.json, which says what was chosen and why.
    """
    from cgbpf.perf.output import OutputFolder
    from cgbpf.perf.recording import Plan
    from cgbpf.recipe import check_recipe

    interrupts = Interrupts()
    check_recipe(recipe)
    _check_command(command_line, duration)
    chosen_events = _events(events)
    folder = OutputFolder(output or Path(time.strftime("cgbpf-%Y%m%d-%H%M%S")))
    plan = Plan(
        folder=folder.path,
        events=chosen_events,
        frequency=frequency,
        duration_s=duration or DEFAULT_DURATION_S,
        command=command_line,
    )
    try:
        return _record(plan, recipe, measuring, interrupts)
    finally:
        folder.give_up()


def _check_command(command_line: tuple[str, ...], duration: float | None) -> None:
    import shutil

    if not command_line:
        return
    if duration is not None:
        raise BadRequest("--duration goes not with a COMMAND", "leave one out")
    if shutil.which(command_line[0]) is None:
        raise CommandMissing(f"can't run {command_line[0]!r}: not found")


def _events(requested: tuple[str, ...]) -> list[str]:
    from cgbpf.perf.events import chosen_events, require_cgroups

    require_cgroups()
    return chosen_events(requested)


def _record(plan: Plan, recipe: Recipe, measuring: Measuring, interrupts: Interrupts) -> int:
    from cgbpf.perf.recording import count_samples, follow, start

    with opened(measuring) as chosen:
        _require_perfs_view(chosen)
        first, choose = _ranked(recipe, measuring.window, chosen, interrupts)
        from cgbpf.report.ranking import ranking_object

        kind = chosen.kind
        header = ranking_object(first, chosen)
        interrupts.postpone()
        perf, recording = start(plan, first, choose)
    # The probe is gone from here on: what is recorded does not pay for it.
    with _progress(plan) as progress:
        follow(perf, recording, plan, progress, lambda: interrupts.pending)
    _write(recording, plan, header)
    interrupts.allow()  # all is kept: counting may be cut short
    count_samples(recording, plan)
    _write(recording, plan, header)
    _show(recording, kind, plan.folder)
    if recording.problem:
        raise recording.problem
    return interrupts.code if recording.interrupted else _as_shell(recording.command_exit or 0)


def _write(recording: Recording, plan: Plan, header: JSON) -> None:
    from cgbpf.perf.events import version
    from cgbpf.perf.output import write_manifest
    from cgbpf.report.recording import manifest

    write_manifest(plan.folder, manifest(recording, plan, header, version()))


def _require_perfs_view(source: Source) -> None:
    """Raises PerfUnusable where perf would look names up elsewhere."""
    from cgbpf.errors import PerfUnusable
    from cgbpf.hierarchy import mounted, perf_hierarchy

    perfs = perf_hierarchy(mounted())
    if perfs.cgroup_id("/") != source.hierarchy.cgroup_id("/"):
        raise PerfUnusable(
            f"perf looks cgroups up in {perfs.mount}, not in {source.hierarchy.mount}",
            "mount the host's hierarchy after it, or over it",
        )


def _as_shell(code: int) -> int:
    """An exit code as a shell tells it: 128 + the signal that ended the command."""
    return code if code >= 0 else 128 - code


def _ranked(
    recipe: Recipe, window: float, source: Source, interrupts: Interrupts
) -> tuple[Ranking, Choose]:
    """The first choice, and what chooses anew if perf refuses it."""
    from cgbpf.pipeline import observe, ranking, require_rows

    def meanwhile() -> None:
        import_tables()
        interrupts.check()

    observed = observe(source, window, meanwhile=meanwhile)
    warn_of_losses(observed.probe)

    def choose(without: frozenset[str]) -> Ranking:
        return ranking(observed, recipe, source, for_perf=True, without=without)

    first = choose(frozenset())
    require_rows(first, recipe)
    return first, choose


@contextlib.contextmanager
def _progress(plan: Plan) -> Iterator[Callable[[float], None]]:
    """A bar on stderr, where that is a terminal."""
    if plan.command or not sys.stderr.isatty():
        yield lambda _: None
        return
    bar = click.progressbar(length=int(plan.duration_s * 10), label="Recording", file=sys.stderr)
    with bar:
        yield lambda step: bar.update(round(step * 10))


def _show(recording: Recording, source: str, folder: Path) -> None:
    from cgbpf.report.recording import chosen_table, summary
    from cgbpf.report.table import lines

    click.echo(lines(chosen_table(recording)))
    click.echo(summary(recording, source))
    for path, reason in recording.dropped:
        click.echo(shown(f"Not recorded: {path}: {reason}"))
    click.echo(shown(f"Look at it: perf report -i {folder / 'perf.data'}"))
    click.echo(shown(f"Manifest:   {folder / 'manifest.json'}"))
