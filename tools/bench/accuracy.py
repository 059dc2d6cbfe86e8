"""BPF against the kernel's own account, on a CPU hog and on a 30 % load.

The kernel's cpu.stat is the reference, made exact first: it moves in ticks
while a task runs, so a thread of ours hops over all CPUs just before it is
read, which makes the scheduler bring every running task up to date. Each BPF
snapshot lies between two such readings; half of their distance is how far
apart two right answers can be (`bracket_percent`). The file source is read as
it is shipped, before the hop.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cgbpf.hierarchy import mounted, perf_hierarchy
from cgbpf.model import Snapshot
from cgbpf.sources.base import Source
from cgbpf.sources.bpf import BpfSource
from cgbpf.sources.files import FilesSource
from tools.bench.cgroups import Tree, load, process, tree
from tools.bench.common import JSON, Claims, benchmark, note, online_cpus, spread

LOADS = {"hog": 1.0, "load_30": 0.3}
LIMIT_PERCENT = 1.0
SHORT_S, LONG = 1.0, 10
"""A short window, and how many of them make a long one."""
_PRIORITY = 90
"""Above any real-time load: a hop to a CPU that is never given up has no end."""
_USER_HZ = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Reading:
    """One moment: CPU ns of each load by source, and the host's stolen time."""

    bpf: dict[str, int]
    files: dict[str, int]
    kernel: dict[str, tuple[int, int]]
    """Just before and just after the BPF snapshot."""
    stolen_ns: int
    at_ns: int


@dataclass(frozen=True)
class Error:
    """What one window says of one load, in percent of the kernel's figure."""

    bpf: float
    files: float
    bracket: float
    stolen: float


class Watch:
    """Reads all sources at one moment."""

    def __init__(self, bpf: Source, files: Source, ours: Tree, paths: dict[str, str]) -> None:
        self._bpf, self._files = bpf, files
        self._stat = {k: Path(ours.directory(p), "cpu.stat") for k, p in paths.items()}
        self._ids = {name: os.stat(ours.directory(path)).st_ino for name, path in paths.items()}

    def read(self) -> Reading:
        files = self._of(self._files.snapshot())
        update_running_tasks()
        before = self._kernel()
        bpf = self._bpf.snapshot()
        update_running_tasks()
        after = self._kernel()
        return Reading(
            bpf=self._of(bpf),
            files=files,
            kernel={name: (before[name], after[name]) for name in before},
            stolen_ns=stolen_ns(),
            at_ns=bpf.at_ns,
        )

    def _of(self, snapshot: Snapshot) -> dict[str, int]:
        where = {name: np.flatnonzero(snapshot.ids == each) for name, each in self._ids.items()}
        return {name: int(snapshot.cpu_ns[each].sum()) for name, each in where.items()}

    def _kernel(self) -> dict[str, int]:
        texts = {name: path.read_text() for name, path in self._stat.items()}
        return {name: int(text.split(None, 2)[1]) * 1000 for name, text in texts.items()}


def update_running_tasks() -> None:
    """Makes every CPU switch once, which brings what runs there up to date."""
    before = os.sched_getaffinity(0)
    try:
        for cpu in before:
            os.sched_setaffinity(0, {cpu})
    finally:
        os.sched_setaffinity(0, before)


def stolen_ns() -> int:
    """Time a hypervisor took, all CPUs (proc(5)): 10 ms a step."""
    return int(Path("/proc/stat").read_text().split(None, 9)[8]) * 1_000_000_000 // _USER_HZ


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Real-time priority, so that readings are not kept waiting by the load."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def readings(windows: int) -> list[Reading]:
    """`windows` + 1 readings, `SHORT_S` apart, with all loads running."""
    mounts = mounted()
    hierarchy = perf_hierarchy(mounts)
    cpus = online_cpus()
    with contextlib.ExitStack() as stack:
        bpf = stack.enter_context(contextlib.closing(BpfSource(hierarchy)))
        ours = stack.enter_context(tree(hierarchy))
        paths = {name: ours.make(name) for name in LOADS}
        for index, (name, share) in enumerate(LOADS.items()):
            directory = ours.directory(paths[name])
            pid = stack.enter_context(process(load(share), directory))
            os.sched_setaffinity(pid, {cpus[index % len(cpus)]})
        time.sleep(0.3)
        stack.enter_context(at_once())
        watch = Watch(bpf, FilesSource(hierarchy, mounts), ours, paths)
        start = time.monotonic()
        found = [watch.read()]
        for each in range(1, windows + 1):
            time.sleep(max(0.0, start + each * SHORT_S - time.monotonic()))
            found.append(watch.read())
        return found


def error(first: Reading, last: Reading, name: str) -> Error:
    """How far BPF and the files are from the kernel's figure in one window."""
    earliest, early = first.kernel[name]
    late, latest = last.kernel[name]
    least, most = late - early, latest - earliest
    truth = (least + most) / 2

    def percent(of: int) -> float:
        return 100 * (of - truth) / truth

    return Error(
        bpf=percent(last.bpf[name] - first.bpf[name]),
        files=percent(last.files[name] - first.files[name]),
        bracket=100 * (most - least) / 2 / truth,
        stolen=100 * (last.stolen_ns - first.stolen_ns) / (last.at_ns - first.at_ns),
    )


def summary(errors: Sequence[Error]) -> JSON:
    return {
        "windows": len(errors),
        "bpf_percent": spread([each.bpf for each in errors]).json(),
        "bpf_worst_percent": round(max(abs(each.bpf) for each in errors), 4),
        "files_percent": spread([each.files for each in errors]).json(),
        "files_worst_percent": round(max(abs(each.files) for each in errors), 4),
        "bracket_percent": spread([each.bracket for each in errors]).json(),
        "steal_percent": spread([each.stolen for each in errors]).json(),
    }


def body(quick: bool, claims: Claims) -> JSON:
    found = readings(LONG if quick else 3 * LONG)
    results: JSON = {}
    note("window load     windows  BPF median, worst %  files median, worst %  bracket %  steal %")
    for step in (1, LONG):
        for name in LOADS:
            pairs = zip(found[:-step:step], found[step::step], strict=True)
            result = summary([error(first, last, name) for first, last in pairs])
            label = f"{name}_{step * SHORT_S:.0f}s"
            results[label] = result
            note(
                f"  {step:3d} s  {name:8} {result['windows']:6d}"
                f"  {result['bpf_percent']['median']:+9.3f} {result['bpf_worst_percent']:9.3f}"
                f"  {result['files_percent']['median']:+11.3f} {result['files_worst_percent']:9.3f}"
                f"  {result['bracket_percent']['median']:9.3f}"
                f"  {result['steal_percent']['median']:7.3f}"
            )
    for label, result in results.items():
        claims.at_most(f"{label}: worst error, %", result["bpf_worst_percent"], LIMIT_PERCENT)
    return results


if __name__ == "__main__":
    benchmark("accuracy", body)
