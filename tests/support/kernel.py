"""The kernel's own counts, read so that they are up to date, and its BPF objects."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cgbpf.measure import interval
from cgbpf.model import Interval, Snapshot
from cgbpf.sources.bpf import BpfSource
from cgbpf.sources.libbpf import library
from tests.support.cgroups import Cgroup

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
"""A step of /proc/stat: 10 ms."""


@contextlib.contextmanager
def everywhere() -> Iterator[list[int]]:
    """The CPUs this thread may run on, which it may then hop over, ahead of all loads
    (`tests.kernel.test_exact` has one of real-time priority 2).
    """
    allowed = os.sched_getaffinity(0)
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(3))
    try:
        yield sorted(allowed)
    finally:
        os.sched_setscheduler(0, policy, priority)
        os.sched_setaffinity(0, allowed)


def settle() -> None:
    """Brings the kernel's counters of all running tasks up to date.

    The task that runs on a CPU is charged when this thread takes its place;
    otherwise cpu.stat lags by up to a tick.
    """
    with everywhere() as cpus:
        for cpu in cpus:
            os.sched_setaffinity(0, {cpu})


def stolen_ns() -> int:
    """Time a hypervisor took from all CPUs, which the probe counts and cpu.stat does not."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()
    return int(fields[8]) * TICK_NS


class Bracket(NamedTuple):
    """A snapshot between two readings of cpu.stat."""

    below_ns: int
    snapshot: Snapshot
    above_ns: int
    stolen_ns: int


def bracket(source: BpfSource, cgroup: Cgroup) -> Bracket:
    """Files, BPF, files: what BPF counts must lie between."""
    settle()
    below = cgroup.usage_ns()
    taken = source.snapshot()
    settle()
    return Bracket(below, taken, cgroup.usage_ns(), stolen_ns())


def used(before: Snapshot, after: Snapshot, source: BpfSource) -> dict[str, int]:
    """CPU time by path between two snapshots."""
    observed: Interval = interval(before, after, source)
    return dict(zip(observed.paths, observed.cpu_ns.tolist(), strict=True))


def bpf_objects() -> dict[str, frozenset[int]]:
    """The ids of all programs, maps and links of this kernel."""
    return {kind: frozenset(_ids(kind)) for kind in ("prog", "map", "link")}


def _ids(kind: str) -> Iterator[int]:
    following = getattr(library(), f"bpf_{kind}_get_next_id")
    number = ctypes.c_uint32(0)
    while following(number.value, ctypes.byref(number)) == 0:
        yield number.value


def descriptors() -> dict[str, str]:
    """This process's open descriptors, and what each is."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[name] = os.readlink(f"/proc/self/fd/{name}")
    return found


def children() -> list[int]:
    """Processes that this one has started and not waited for."""
    tasks = Path("/proc/self/task").iterdir()
    return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
