"""The real thing from end to end, on whichever kernel and cgroup mounts it finds.

    python -m tests.kernels.scenario

compiles, loads and attaches the probe, ranks two known loads against the
kernel's own counters, has `cgbpf record` record the hot one, and prints what
it found as JSON. Fails with a traceback. Run by tests on this machine and in
virtual machines: the same body, so that a cell of docs/compatibility.md means
the same everywhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cgbpf.hierarchy import Hierarchy, cpu_hierarchy, memory_hierarchy, mounted, perf_hierarchy
from cgbpf.measure import interval
from cgbpf.model import Ranking, Recipe, Row, Snapshot
from cgbpf.pipeline import ranking
from cgbpf.sources.base import Source
from cgbpf.sources.choose import open_source
from tests.e2e.reading import pids, samples
from tests.support.cgroups import Cgroup, Load
from tests.support.command import cgbpf
from tests.support.kernel import TICK_NS, settle, stolen_ns
from tools.known_load import Cgroup as Manifold
from tools.known_load import counted_hierarchies

WINDOW_S = 6.0
WITHIN_PERCENT = 2.0
WIDEST_PERCENT = 4.0
"""Of the window: what the files before and after its two snapshots may differ by."""
NARROW_PERCENT = 1.0
"""Of the window: what those of one snapshot had better not differ by."""
TRIES = 10
CLEARLY = 1.3
RECORD_S = 3
BRIEF_MS = 100
STARTED_NS = 1_000_000_000
"""CPU time after which a load's Python has started, emulated too."""
PERIOD_MS = 100.0
"""Few wake-ups: the kernel counts a task that wakes an idle CPU from its wake-up on
(rq_clock_skip_update in check_preempt_curr), the probe from the switch to it.
Emulated, that is 0.1 ms each time: 1 % of a load that sleeps every 20 ms.
"""
PATIENCE_S = 120.0
"""For what is slow where everything is emulated: Python's start takes seconds."""

PREFIX = f"/cgbpf-kernels-{os.getpid()}-"
HOT, WARM, BRIEF = f"{PREFIX}hot", f"{PREFIX}warm", f"{PREFIX}brief"
SHARES = {HOT: 90.0, WARM: 30.0}


@dataclass(frozen=True)
class Agreement:
    """What was ranked beside what the kernel counted in the same window."""

    cpu_percent: float
    counted_ns: int
    lowest_ns: int
    highest_ns: int
    """What the kernel may have counted from one snapshot to the other: its
    files were read just before and just after each of them."""

    @property
    def width_percent(self) -> float:
        """Of the window: how far apart the readings are."""
        return 100 * (self.highest_ns - self.lowest_ns) / (WINDOW_S * 1e9)

    @property
    def error_percent(self) -> float:
        """How far what was ranked lies outside; 0 if it does not."""
        outside = max(self.lowest_ns - self.counted_ns, self.counted_ns - self.highest_ns, 0)
        return 100 * outside / self.lowest_ns

    @property
    def from_middle_percent(self) -> float:
        """How far it lies from the middle: what is known best."""
        return 100 * (2 * self.counted_ns / (self.lowest_ns + self.highest_ns) - 1)


@dataclass(frozen=True)
class Facts:
    """What a run found out, for docs/compatibility.md."""

    kernel: str
    mounts: list[str]
    ranked: str
    source: str
    startup_s: float
    snapshot_ms: float
    hot_percent: float
    warm_percent: float
    hot_error_percent: float
    warm_error_percent: float
    hot_from_middle_percent: float
    warm_from_middle_percent: float
    width_percent: float
    brief_cpu_ms: float
    memory_bytes: int | None
    samples: int
    seconds: float


def name_of(hierarchy: Hierarchy) -> str:
    """For example "v2" or "v1 cpu,cpuacct"."""
    controllers = ",".join(sorted(hierarchy.controllers - {"rw"}))
    return f"v{hierarchy.version} {controllers}".strip()


@dataclass(frozen=True)
class Moment:
    """A snapshot between two readings of the kernel's files."""

    below_ns: dict[str, int]
    snapshot: Snapshot
    above_ns: dict[str, int]
    stolen_ns: int
    took_s: float

    @property
    def width_ns(self) -> int:
        return max(self.above_ns[path] - self.below_ns[path] for path in SHARES)


class Counters:
    """The kernel's own count of CPU time, wherever it is mounted."""

    def __init__(self, mounts: Sequence[Hierarchy]) -> None:
        hierarchy = cpu_hierarchy(mounts, perf_hierarchy(mounts))
        assert hierarchy is not None, "no hierarchy counts CPU time"
        self._hierarchy = hierarchy

    def read(self) -> dict[str, int]:
        """Nanoseconds, running tasks included, of the two loads."""
        settle()
        return {path: self._one(path) for path in SHARES}

    def _one(self, path: str) -> int:
        folder = Path(self._hierarchy.directory(path))
        if self._hierarchy.version == 1:
            return int((folder / "cpuacct.usage").read_text())
        return int((folder / "cpu.stat").read_text().split()[1]) * 1000

    def moment(self, source: Source) -> Moment:
        """The first that is narrow enough: a virtual CPU may be kept waiting within it."""
        for _ in range(TRIES):
            found = self._moment(source)
            if found.width_ns < NARROW_PERCENT / 100 * WINDOW_S * 1e9:
                break
        return found

    def _moment(self, source: Source) -> Moment:
        below = self.read()
        begun = time.monotonic()
        snapshot = source.snapshot()
        took = time.monotonic() - begun
        return Moment(below, snapshot, self.read(), stolen_ns(), took)


def wait_until(reached: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < end, f"{what}: not after {PATIENCE_S:.0f} s"
        time.sleep(0.05)


@contextlib.contextmanager
def known_loads(counters: Counters) -> Iterator[dict[str, Load]]:
    """One load of 90 % and one of 30 %, each on a CPU of its own, both busy."""
    cpus = sorted(os.sched_getaffinity(0))
    assert len(cpus) >= len(SHARES), "the loads need a CPU each"
    with contextlib.ExitStack() as stack:
        loads = {}
        for cpu, (path, percent) in zip(cpus, SHARES.items(), strict=False):
            cgroup = stack.enter_context(everywhere(path))
            loads[path] = cgroup.duty(percent, cpu, PERIOD_MS)
            stack.callback(loads[path].stop)
            adopt(path, loads[path])
        wait_until(lambda: min(counters.read().values()) > STARTED_NS, "both loads burn")
        yield loads


@contextlib.contextmanager
def everywhere(path: str) -> Iterator[Cgroup]:
    """The cgroup in the hierarchy that is ranked; it is made in the others, too."""
    with Manifold(path):
        yield Cgroup(perf_hierarchy(mounted()), path)


def adopt(path: str, load: Load) -> None:
    """Moves a load into the cgroup in every hierarchy, as a container runtime does."""
    for hierarchy in counted_hierarchies(mounted()):
        Path(hierarchy.directory(path), "cgroup.procs").write_text(str(load.pid))


def come_and_go(source: Source, before: Snapshot) -> float:
    """A cgroup that is made, used and removed before the next snapshot is in it by
    its path. Returns the milliseconds it used.
    """
    with everywhere(BRIEF) as cgroup:
        cgroup.brief(BRIEF_MS).wait(PATIENCE_S)
    assert not cgroup.directory.exists()
    observed = interval(before, source.snapshot(), source)
    used = dict(zip(observed.paths, observed.cpu_ns.tolist(), strict=True))
    assert used.get(BRIEF, 0) >= BRIEF_MS * 1e6, f"{BRIEF}: {used.get(BRIEF)} in {sorted(used)}"
    return float(used[BRIEF]) / 1e6


def sleep_until(end: float) -> None:
    time.sleep(max(0.0, end - time.monotonic()))


def agreement(row: Row, before: Moment, after: Moment) -> Agreement:
    """Holds a row against the kernel's counters.

    Time stolen by a hypervisor is in the probe's slices and not in the
    kernel's count; where there is any, its counter is off by up to a tick.
    """
    stolen = after.stolen_ns - before.stolen_ns
    stolen += TICK_NS if stolen else 0
    return Agreement(
        row.cpu_percent,
        row.cpu_ns,
        after.below_ns[row.path] - before.above_ns[row.path],
        after.above_ns[row.path] - before.below_ns[row.path] + stolen,
    )


def check_ranking(result: Ranking, before: Moment, after: Moment) -> list[Agreement]:
    """The hot one first, and both as the kernel counted them."""
    order = {row.path: round(row.cpu_percent, 1) for row in result.rows}
    assert list(order) == [HOT, WARM], f"ranked in this order: {order}"
    found = [agreement(row, before, after) for row in result.rows]
    for each in found:
        assert each.width_percent < WIDEST_PERCENT, f"too far apart to show anything: {each}"
        assert each.error_percent <= WITHIN_PERCENT, f"{each.error_percent:.2f} % off: {each}"
    # A load gets less than its share of a busy machine, and takes more where each
    # of its sleeps is slow to return; the kernel's count is what is held against.
    hot, warm = found
    assert hot.cpu_percent > CLEARLY * warm.cpu_percent > 0, f"the loads: {found}"
    return found


def check_memory(row: Row, mounts: Sequence[Hierarchy]) -> int | None:
    """Memory is told where anything accounts for it."""
    accounted = memory_hierarchy(mounts)
    folder = Path(accounted.directory(row.path) if accounted else "/nowhere")
    files = ("memory.current", "memory.usage_in_bytes")
    there = any((folder / each).exists() for each in files)
    assert bool(row.memory_bytes) == there, f"memory of {row.path}: {row.memory_bytes}"
    return row.memory_bytes


def record(hot: Load) -> int:
    """`cgbpf record` of the hottest: samples of that load, and of nothing else."""
    with tempfile.TemporaryDirectory(prefix="cgbpf-kernels-") as name:
        folder = Path(name, "profile")
        done = cgbpf(
            "record", "--limit", "1", "--include", f"{PREFIX}*", "--duration", str(RECORD_S),
            "--output", str(folder), timeout_s=PATIENCE_S + RECORD_S,
        )  # fmt: skip
        assert done.returncode == 0, f"cgbpf record: {done.stderr}"
        assert "counting from the kernel's files" not in done.stderr
        found = samples(folder / "perf.data")
    assert pids(found) == {hot.pid}, f"samples of {found}, not of {hot.pid} alone"
    return found.total()


def run() -> Facts:
    """The scenario. Raises AssertionError, or whatever went wrong."""
    begun = time.monotonic()
    mounts = mounted()
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(contextlib.closing(open_source("bpf", mounts)))
        startup_s = time.monotonic() - begun
        assert source.kind == "bpf"
        counters = Counters(mounts)
        loads = stack.enter_context(known_loads(counters))
        before = counters.moment(source)
        end = time.monotonic() + WINDOW_S
        brief_ms = come_and_go(source, before.snapshot)
        sleep_until(end)
        after = counters.moment(source)
        observed = interval(before.snapshot, after.snapshot, source)
        result = ranking(observed, Recipe(include=(f"{PREFIX}*",), exclude=(BRIEF,)), source)
        hot, warm = check_ranking(result, before, after)
        return Facts(
            kernel=platform.release(),
            mounts=sorted(set(map(name_of, mounts))),
            ranked=name_of(source.hierarchy),
            source=source.kind,
            startup_s=startup_s,
            snapshot_ms=after.took_s * 1000,
            hot_percent=hot.cpu_percent,
            warm_percent=warm.cpu_percent,
            hot_error_percent=hot.error_percent,
            warm_error_percent=warm.error_percent,
            hot_from_middle_percent=hot.from_middle_percent,
            warm_from_middle_percent=warm.from_middle_percent,
            width_percent=max(hot.width_percent, warm.width_percent),
            brief_cpu_ms=brief_ms,
            memory_bytes=check_memory(result.rows[0], mounts),
            samples=record(loads[HOT]),
            seconds=time.monotonic() - begun,
        )


def main() -> None:
    json.dump(asdict(run()), sys.stdout)


if __name__ == "__main__":
    main()
