"""From a ranking to a recording: start perf on what is there, keep what it wrote."""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cgbpf.errors import CgbpfError, CommandMissing, NothingFound, RecordingFailed
from cgbpf.model import Dropped, Ranking, Row
from cgbpf.perf.argv import event_name, record_arguments
from cgbpf.perf.events import find_perf
from cgbpf.perf.output import DATA
from cgbpf.perf.process import PerfRecord, PerfRefused, explain
from cgbpf.perf.samples import samples_by_event

log = logging.getLogger(__name__)

_NO_ACCESS = "no access to cgroup "
_STEP_S = 0.1
_PATIENCE_S = 5.0
_VANISHED = "it vanished before perf opened it"


@dataclass(frozen=True)
class Plan:
    """What is to be recorded, and where."""

    folder: Path
    events: Sequence[str]
    frequency: int
    """Samples per second and CPU."""
    duration_s: float
    command: Sequence[str] = ()
    """Recorded while this runs, instead of for `duration_s`."""


@dataclass
class Recording:
    """What came of it."""

    ranking: Ranking
    events: Sequence[str]
    dropped: list[Dropped]
    argv: list[str] = field(default_factory=list)
    started: float = 0.0
    """Seconds since the epoch."""
    recorded_s: float = 0.0
    exit: int | None = None
    """perf's exit code."""
    command_exit: int | None = None
    interrupted: bool = False
    samples: dict[str, int] | None = None
    """By event name; None where perf.data can't be read."""
    problem: CgbpfError | None = None
    """What went wrong after perf began; what was recorded is kept."""

    @property
    def rows(self) -> list[Row]:
        return self.ranking.rows

    def events_of(self, index: int) -> dict[str, int | None]:
        """Event name -> samples of the `index`-th cgroup."""
        cgroup = self.rows[index].perf_cgroup or ""
        names = [event_name(index, cgroup, event) for event in self.events]
        return {name: None if self.samples is None else self.samples.get(name, 0) for name in names}


Choose = Callable[[frozenset[str]], Ranking]
"""Ranks anew what can be recorded now, without the paths given."""


def start(plan: Plan, chosen: Ranking, choose: Choose) -> tuple[PerfRecord, Recording]:
    """Starts perf on the hottest cgroups that are still there.

    perf refuses to start if one of its cgroups is gone. Then the ranking is
    made again from the same measurement: the next hottest takes its place.
    """
    refused: dict[str, Dropped] = {}
    while True:
        if not chosen.rows:
            raise _nothing_left([*refused.values(), *chosen.dropped])
        try:
            perf = _started(plan, chosen.rows)
        except PerfRefused as error:
            (plan.folder / DATA).unlink(missing_ok=True)
            culprits = _vanished(error.message, chosen.rows)
            log.debug("perf refused: %s", error.message)
            refused |= {path: Dropped(path, _VANISHED) for path in culprits}
            before, chosen = chosen, choose(frozenset(refused))
            if [row.path for row in chosen.rows] == [row.path for row in before.rows]:
                raise explain(error) from error
            continue
        return perf, Recording(
            ranking=chosen,
            events=plan.events,
            dropped=[*chosen.dropped, *refused.values()],
            argv=perf.argv,
            started=time.time(),
        )


def _started(plan: Plan, rows: Sequence[Row]) -> PerfRecord:
    """perf, recording `rows`. Raises PerfRefused, and leaves no perf behind."""
    names = [row.perf_cgroup or "" for row in rows]
    output = str(plan.folder / DATA)
    perf = PerfRecord(
        lambda control: record_arguments(
            find_perf(), output, plan.frequency, plan.events, names, control
        )
    )
    try:
        perf.enable()
    except BaseException:
        perf.stop()
        perf.close()
        raise
    return perf


def _nothing_left(dropped: Sequence[Dropped]) -> NothingFound:
    reason = f": {dropped[0].path!r}: {dropped[0].reason}" if dropped else ""
    return NothingFound(f"no cgroup is left to record{reason}", "measure again")


def _vanished(message: str, rows: Sequence[Row]) -> list[str]:
    """Paths of the cgroups that perf complained of (it names only the first)."""
    said = message.split("; ")
    return [
        row.path
        for row in rows
        if any(
            each.startswith(_NO_ACCESS) and each.endswith(f"/{row.perf_cgroup}") for each in said
        )
    ]


def _names(complaint: str, cgroup: str) -> bool:
    return complaint.startswith(_NO_ACCESS) and complaint.endswith(f"/{cgroup}")


def follow(
    perf: PerfRecord,
    recording: Recording,
    plan: Plan,
    progress: Callable[[float], None],
    interrupted: Callable[[], bool],
) -> None:
    """Records until the plan is fulfilled, perf ends, or it is `interrupted`.

    `progress` is told the seconds since the last call. Never raises for what
    happens while recording: `recording` says it.
    """
    begun = time.monotonic()
    child = _command(recording, plan)
    try:
        for step in _steps(perf, recording, plan, child, interrupted):
            progress(step)
        recording.interrupted = interrupted()
    finally:
        died = not perf.running
        recording.recorded_s = time.monotonic() - begun
        recording.exit = perf.stop()
        said = perf.said()
        perf.close()
        _end(child)
    if died or recording.exit:
        recording.problem = recording.problem or RecordingFailed(
            f"perf ended after {recording.recorded_s:.1f} s with code {recording.exit}: "
            f"{said[:300] or 'it said nothing'}",
            f"what it recorded is in {plan.folder}",
        )


def count_samples(recording: Recording, plan: Plan) -> None:
    """Counts what perf.data holds by event; what can't be counted stays unknown."""
    try:
        recording.samples = samples_by_event(str(plan.folder / DATA))
    except (ValueError, CgbpfError) as error:
        recording.problem = recording.problem or RecordingFailed(
            f"the recording can't be read: {str(error)[:300]}", f"see {plan.folder / DATA}"
        )


def _command(recording: Recording, plan: Plan) -> subprocess.Popen[bytes] | None:
    """The plan's command, started, None if there is none or it can't be."""
    try:
        return subprocess.Popen(plan.command) if plan.command else None
    except OSError as error:
        recording.problem = CommandMissing(f"can't run {plan.command[0]!r}: {error.strerror}")
        return None


def _steps(
    perf: PerfRecord,
    recording: Recording,
    plan: Plan,
    child: subprocess.Popen[bytes] | None,
    interrupted: Callable[[], bool],
) -> Iterator[float]:
    """Waits for the plan's end in small steps, yielding the length of each."""
    last = begun = time.monotonic()
    while perf.running and not interrupted() and recording.problem is None:
        left = plan.duration_s - (last - begun)
        if child is not None:
            try:
                recording.command_exit = child.wait(_STEP_S)
                return
            except subprocess.TimeoutExpired:
                pass
        elif left <= 0:
            return
        else:
            time.sleep(min(_STEP_S, left))
        now = time.monotonic()
        yield now - last
        last = now


def _end(child: subprocess.Popen[bytes] | None) -> None:
    """Ends a command that outlives its recording; one that ignores it is killed."""
    if child is None or child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
