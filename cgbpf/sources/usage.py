"""Memory and lifetime CPU of single cgroups, from the kernel's files.

Read for the units that are shown, not for all: memory.stat alone costs more
than a whole snapshot of the BPF maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cgbpf.hierarchy import Hierarchy, cpu_hierarchy, memory_hierarchy


class Memory(NamedTuple):
    """Bytes; None = not measured."""

    used: int | None
    """memory.current or memory.usage_in_bytes: with descendants and page cache."""
    working_set: int | None
    """`used` less inactive page cache, as Kubernetes counts it."""


NOT_MEASURED = Memory(None, None)


class Files:
    """Reads files of the cgroups of `ranked`, by their paths."""

    def __init__(self, mounts: Sequence[Hierarchy], ranked: Hierarchy) -> None:
        self._memory = memory_hierarchy(mounts)
        self._cpu = cpu_hierarchy(mounts, ranked)

    def memory(self, path: str) -> Memory:
        if self._memory is None or not path.startswith("/"):
            return NOT_MEASURED
        unified = self._memory.version == 2
        folder = self._memory.directory(path)
        used = _number(f"{folder}/{'memory.current' if unified else 'memory.usage_in_bytes'}")
        key = "inactive_file" if unified else "total_inactive_file"
        inactive = _field(f"{folder}/memory.stat", key)
        working = None if used is None or inactive is None else max(0, used - inactive)
        return Memory(used, working)

    def lifetime_cpu_ns(self, path: str) -> int | None:
        """CPU time since the cgroup was made, with its descendants'."""
        if self._cpu is None or not path.startswith("/"):
            return None
        folder = self._cpu.directory(path)
        if self._cpu.version == 1:
            return _number(f"{folder}/cpuacct.usage")
        usec = _field(f"{folder}/cpu.stat", "usage_usec")
        return None if usec is None else usec * 1000


def _read(name: str) -> str | None:
    try:
        with open(name, encoding="ascii") as file:
            return file.read()
    except (OSError, ValueError):
        return None


def _number(name: str) -> int | None:
    text = _read(name)
    return int(text) if text and text.strip().isdigit() else None


def _field(name: str, key: str) -> int | None:
    for line in (_read(name) or "").splitlines():
        found, _, value = line.partition(" ")
        if found == key and value.isdigit():
            return int(value)
    return None
