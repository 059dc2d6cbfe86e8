"""Counters from the kernel's own files: the fallback, with no privileges.

cgroup2: `usage_usec` of cpu.stat, which counts with no controller enabled
(Documentation/admin-guide/cgroup-v2.rst). v1: cpuacct.usage, in ns. Both
include descendants, and move in ticks while a task runs. There is no count of
switches in them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from cgbpf.errors import NotPermitted, SourceUnavailable
from cgbpf.hierarchy import Hierarchy, cpu_hierarchy
from cgbpf.model import Seen, Snapshot
from cgbpf.sources.usage import Files

_USER_HZ_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class FilesSource:
    """CPU time by cgroup, from the files of `hierarchy` (or of cpuacct, for v1)."""

    kind = "files"

    def __init__(self, hierarchy: Hierarchy, mounts: Sequence[Hierarchy]) -> None:
        counted = cpu_hierarchy(mounts, hierarchy)
        if counted is None:
            raise SourceUnavailable(
                "perf filters on a v1 hierarchy, and cpuacct, which counts CPU, is not mounted",
                "mount cpuacct, or cgroup2 alone",
            )
        self.hierarchy = hierarchy
        self.fallback_reason: str | None = None
        self._counted = counted
        self._files = Files(mounts, hierarchy)
        self._counter = "cpu.stat" if counted.version == 2 else "cpuacct.usage"
        self._paths: dict[int, str] = {}
        try:
            self._read("/")
        except PermissionError as error:
            raise NotPermitted(
                f"permission denied reading {error.filename}", "run as a user who may read it"
            ) from error
        except (OSError, ValueError) as error:
            raise SourceUnavailable(
                f"{counted.directory('/')} has no usable {self._counter}: {error}",
                "cpu.stat of cgroup2 needs Linux 4.20",
            ) from error

    def snapshot(self) -> Snapshot:
        try:
            found = dict(self.hierarchy.walk())
            self._read("/")
        except (OSError, ValueError) as error:
            raise SourceUnavailable(
                f"the hierarchy at {self.hierarchy.mount} is no longer there",
                "mount it, and start again",
            ) from error
        self._paths.update(found)
        at_ns, wall = time.monotonic_ns(), time.time()
        ids, usage = self._read_all(found)
        order = np.argsort(ids)
        cpus, total_ns, idle_ns = _host_times()
        return Snapshot(
            at_ns=at_ns,
            time=wall,
            ids=ids[order],
            cpu_ns=usage[order],
            switches=None,
            inclusive=True,
            cpus=cpus,
            covered_ns=total_ns,
            idle_ns=idle_ns,
        )

    def paths(self, ids: Iterable[int]) -> list[str | None]:
        return [self._paths.get(each) for each in ids]

    def all_paths(self) -> Iterable[str]:
        return (path for _, path in self.hierarchy.walk())

    def look(self, path: str) -> Seen:
        return self._files.look(path)

    def close(self) -> None:
        pass

    def _read_all(self, places: dict[int, str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids and CPU ns of those of `places` that could be read."""
        ids, usage = [], []
        for cgroup_id, path in places.items():
            try:
                usage.append(self._read(path))
            except (OSError, ValueError):
                continue  # it vanished, or this one is not ours to read
            ids.append(cgroup_id)
        return np.array(ids, dtype=np.uint64), np.array(usage, dtype=np.uint64)

    def _read(self, path: str) -> int:
        fd = os.open(f"{self._counted.directory(path)}/{self._counter}", os.O_RDONLY)
        try:
            text = os.read(fd, 4096)
        finally:
            os.close(fd)
        if self._counted.version == 1:
            return int(text)
        name, value = text.split(None, 2)[:2]
        if name != b"usage_usec":
            raise ValueError("cpu.stat does not begin with usage_usec")
        return int(value) * 1000


def _host_times() -> tuple[int, int, int]:
    """Online CPUs, all CPU time and idle time since boot in ns, from /proc/stat
    (proc(5)): 10 ms a step.
    """
    cpus, total, idle = 0, 0, 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == "cpu":
            ticks = [int(field) for field in fields[:8]]  # guest is part of user
            total, idle = sum(ticks), ticks[3] + ticks[4]
        cpus += name.startswith("cpu") and name != "cpu"
    return cpus, total * _USER_HZ_NS, idle * _USER_HZ_NS
