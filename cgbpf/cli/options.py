"""Options that several commands share, and what they make of them."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from cgbpf.errors import BadRequest
from cgbpf.model import Probe, Recipe
from cgbpf.report.text import shown
from cgbpf.sources.base import Source

Command = TypeVar("Command", bound=Callable[..., Any])

MAX_SECONDS = 1e6


class Seconds(click.ParamType[float]):
    """A time in seconds: positive, finite, at most `MAX_SECONDS`."""

    name = "seconds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            seconds = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        if not (math.isfinite(seconds) and 0 < seconds <= MAX_SECONDS):
            self.fail(f"{value} is not above 0 and at most {MAX_SECONDS:.0f} seconds", param, ctx)
        return seconds


class _OneLine(logging.Formatter):
    """What is logged may hold names from outside."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))


def verbosity(command: Command) -> Command:
    """Adds -v: what is done goes to stderr."""

    def apply(_: click.Context, __: click.Parameter, value: int) -> None:
        level = logging.DEBUG if value else logging.WARNING
        handler = logging.StreamHandler()
        handler.setFormatter(_OneLine("cgbpf: %(message)s"))
        logging.basicConfig(level=level, handlers=[handler])

    return click.option(
        "-v", "--verbose", count=True, expose_value=False, callback=apply, is_eager=True,
        help="Tell on stderr what is done; show tracebacks.",
    )(command)  # fmt: skip


def recipe_options(limit: int) -> Callable[[Command], Command]:
    """Adds the options that make a `Recipe`, given to the command as `recipe`."""

    def decorate(command: Command) -> Command:
        @click.option("--limit", type=int, default=limit, show_default=True, help="How many units.")
        @click.option(
            "--level",
            default="container",
            show_default=True,
            metavar="LEVEL",
            help="What a unit is: container (else the systemd service or scope, else the "
            "cgroup), leaf (each cgroup), top (first component), or a pattern of paths "
            "such as '/kubepods/*/pod*'.",
        )
        @click.option(
            "--include",
            multiple=True,
            metavar="GLOB",
            help="Only units whose path or name matches; kind:docker matches the kind. Repeatable.",
        )
        @click.option(
            "--exclude",
            multiple=True,
            metavar="GLOB",
            help="No units whose path or name matches. Repeatable.",
        )
        @click.option(
            "--score",
            default="cpu",
            show_default=True,
            metavar="EXPR",
            help="What to rank by: an expression over cpu, host (percent), cpu_s, switches (per "
            "second), memory, working_set (MiB), lifetime_cpu_s; or 'cumulative': "
            "lifetime CPU seconds + memory MiB, as gProfiler does.",
        )
        @click.option("--own", is_flag=True, help="Also the unit that cgbpf itself runs in.")
        @functools.wraps(command)
        def wrapped(
            limit: int, level: str, include: tuple[str, ...], exclude: tuple[str, ...],
            score: str, own: bool, **rest: Any,
        ) -> Any:  # fmt: skip
            recipe = Recipe(limit, level, include, exclude, score, own)
            return command(recipe=recipe, **rest)

        return wrapped  # type: ignore[return-value]

    return decorate


@dataclass(frozen=True)
class Measuring:
    """What the options of `source_options` say."""

    window: float
    source: str
    save: Path | None
    cgroup_root: Path
    replay: Path | None = None
    hierarchy: str = "auto"


def source_options(command: Command) -> Command:
    """Adds the options of how to measure, given to the command as `measuring`."""

    @click.option(
        "--window", type=Seconds(), default=1.0, show_default=True, help="How long to measure."
    )
    @click.option(
        "--source",
        type=click.Choice(["auto", "bpf", "files"]),
        default="auto",
        show_default=True,
        help="Exact counts by BPF, or the kernel's files; auto falls back to files, and says why.",
    )
    @click.option(
        "--save",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Keep what was measured as JSON lines.",
    )
    @click.option(
        "--cgroup-root",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        default=Path("/"),
        metavar="DIR",
        help="Take only cgroup mounts at or below DIR: the host's, inside a container.",
    )
    @functools.wraps(command)
    def wrapped(
        window: float, source: str, save: Path | None, cgroup_root: Path, **rest: Any
    ) -> Any:  # fmt: skip
        chosen = {name: rest.pop(name) for name in ("replay", "hierarchy") if name in rest}
        measuring = Measuring(window, source, save, cgroup_root, **chosen)
        return command(measuring=measuring, **rest)

    return wrapped  # type: ignore[return-value]


@contextlib.contextmanager
def opened(measuring: Measuring) -> Iterator[Source]:
    """The source that the options ask for; a fallback is announced once."""
    from cgbpf.sources.recorded import RecordedSource
    from cgbpf.sources.saving import Saver

    replay = measuring.replay
    if replay and (measuring.save or measuring.source != "auto"):
        raise BadRequest("--replay goes with neither --save nor --source", "leave one out")
    chosen: Source = RecordedSource(replay) if replay else _live(measuring)
    try:
        if measuring.save:
            chosen = Saver(chosen, measuring.save)
        yield chosen
    finally:
        chosen.close()


def _live(measuring: Measuring) -> Source:
    from cgbpf.hierarchy import mounted
    from cgbpf.sources.choose import open_source

    mounts = mounted(str(measuring.cgroup_root))
    chosen = open_source(measuring.source, mounts, measuring.hierarchy)
    if chosen.fallback_reason:
        warn(f"counting from the kernel's files: {chosen.fallback_reason}")
    if not chosen.hierarchy.shows_all:
        warn(
            f"{chosen.hierarchy.mount} shows only a part of this host's cgroups (a container?): "
            "mount the host's and name it by --cgroup-root"
        )
    return chosen


def warn(message: str) -> None:
    """One line on stderr, harmless whatever names are in it."""
    click.echo(f"cgbpf: {shown(message)}", err=True)


def warn_of_losses(probe: Probe | None) -> None:
    """Says what the probe could not count: never silently wrong."""
    if probe is None:
        return
    if probe.lost:
        warn(
            f"{probe.lost} updates ({probe.lost_ns / 1e6:.1f} ms of CPU) were lost, "
            f"{probe.map_used} of {probe.map_max} map entries are used: that time is unattributed"
        )
    if probe.paths_lost:
        warn(
            f"{probe.paths_lost} cgroups were removed too fast for their paths to be kept: "
            "their time is shown as unknown:ID; a shorter --window keeps more"
        )
    if probe.offline_cpus:
        warn(f"CPUs offline and not counted: {', '.join(map(str, probe.offline_cpus))}")


def import_tables() -> None:
    """Done while a window passes, so that nobody waits for it."""
    import cgbpf.report.recording
    import cgbpf.report.table  # noqa: F401
