"""Memory and lifetime CPU of single cgroups, from the kernel's files.

Read for the units that are shown, not for all: memory.stat alone costs more
than a whole snapshot of the BPF maps.
"""

from __future__ import annotations

from collections.abc import Sequence

from cgbpf.hierarchy import Hierarchy, cpu_hierarchy, memory_hierarchy
from cgbpf.model import Seen


class Files:
    """Looks at the cgroups of `ranked` by their paths, in whichever hierarchy
    accounts for what is asked.
    """

    def __init__(self, mounts: Sequence[Hierarchy], ranked: Hierarchy) -> None:
        self._ranked = ranked
        self._memory = memory_hierarchy(mounts)
        self._cpu = cpu_hierarchy(mounts, ranked)

    def look(self, path: str) -> Seen:
        if not path.startswith("/"):
            return Seen()
        used, working_set = self._memory_of(path)
        return Seen(self._ranked.cgroup_id(path), used, working_set, self._lifetime_cpu_ns(path))

    def _memory_of(self, path: str) -> tuple[int | None, int | None]:
        place = self._memory_path(path)
        if self._memory is None or place is None:
            return None, None
        unified = self._memory.version == 2
        folder = self._memory.directory(place)
        used = _number(f"{folder}/{'memory.current' if unified else 'memory.usage_in_bytes'}")
        key = "inactive_file" if unified else "total_inactive_file"
        inactive = None if used is None else _field(f"{folder}/memory.stat", key)
        return used, None if used is None or inactive is None else max(0, used - inactive)

    def _memory_path(self, path: str) -> str | None:
        """Where the memory of the cgroup `path` is accounted.

        Hierarchies may disagree: where there is no cgroup of that path, it is
        that of its tasks there, unless they share it with others.
        """
        memory = self._memory
        if memory is None or memory.cgroup_id(path) is not None:
            return path
        tasks = _members(self._ranked, path)
        found = memory.own_path(_read(f"/proc/{min(tasks)}/cgroup") or "") if tasks else None
        return found if found and _members(memory, found) <= tasks else None

    def _lifetime_cpu_ns(self, path: str) -> int | None:
        if self._cpu is None:
            return None
        folder = self._cpu.directory(path)
        if self._cpu.version == 1:
            return _number(f"{folder}/cpuacct.usage")
        usec = _field(f"{folder}/cpu.stat", "usage_usec")
        return None if usec is None else usec * 1000


def _members(hierarchy: Hierarchy, path: str) -> set[str]:
    return set((_read(f"{hierarchy.directory(path)}/cgroup.procs") or "").split())


def _read(name: str) -> str | None:
    try:
        with open(name, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
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
