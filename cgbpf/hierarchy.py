"""Which cgroup hierarchies are mounted, and which of them perf filters on.

A host has up to one cgroup2 hierarchy and any number of v1 ones, each with
ids and paths of its own: an id or a path means something only together with
its hierarchy. Mounts are read from mountinfo (proc(5)), never assumed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cgbpf.errors import SourceUnavailable

MOUNTINFO = "/proc/self/mountinfo"
OWN = "/proc/self/cgroup"


@dataclass(frozen=True)
class Hierarchy:
    """One mounted hierarchy."""

    version: int
    """1 or 2."""
    mount: str
    """Where it is mounted, without a trailing slash."""
    controllers: frozenset[str] = frozenset()
    """v1: what it was mounted with, for example {"cpu", "cpuacct"}."""
    root: str = "/"
    """Which of its cgroups the mount point shows."""

    @property
    def controller(self) -> str | None:
        """v1: the controller that stands for the hierarchy, None for cgroup2."""
        for each in ("perf_event", "cpuacct"):
            if each in self.controllers:
                return each
        return min(self.controllers & v1_controllers().keys(), default=None)

    def number(self) -> int:
        """The kernel's number of this hierarchy; cgroup2 has 0."""
        return v1_controllers().get(self.controller or "", (0, 0))[0]

    @property
    def shows_all(self) -> bool:
        """Whether the mount shows the whole hierarchy, not a container's part of it.

        The root of every hierarchy is inode 1: it is made first (kernfs_create_root).
        """
        return self.cgroup_id("/") == 1

    def own_path(self, text: str) -> str | None:
        """Our own cgroup, from the text of /proc/self/cgroup
        (cgroups(7)), None where the mount does not show it.
        """
        for line in text.split("\n"):
            number, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            ours = self.controllers & set(controllers.split(","))
            if path and (ours if self.version == 1 else number == "0"):
                return self._below_mount(path)
        return None

    def _below_mount(self, path: str) -> str | None:
        if self.root == "/":
            return path
        if path == self.root or path.startswith(self.root + "/"):
            return path[len(self.root) :] or "/"
        return None

    def directory(self, path: str) -> str:
        """The directory of the cgroup `path` (as in `Place.path`)."""
        return self.mount + path.rstrip("/")

    def cgroup_id(self, path: str) -> int | None:
        """The id that `path` has now, None if there is no such cgroup.

        The id is the inode number of the directory (kernfs, since 4.14 for
        cgroup2; commit aa8188253474).
        """
        try:
            return os.stat(self.directory(path)).st_ino
        except OSError:
            return None

    def count_children(self, parent: str) -> int:
        """How many cgroups are directly in `parent`: its link count tells."""
        try:
            return os.stat(self.mount + parent).st_nlink - 2
        except OSError:
            return 0

    def children(self, parent: str) -> list[tuple[int, str]]:
        """(id, path) of the cgroups directly in `parent` ("" is the root)."""
        try:
            with os.scandir(self.mount + parent) as entries:
                # Only directories are cgroups; d_type tells without a stat.
                return [
                    (entry.inode(), f"{parent}/{entry.name}")
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False)
                ]
        except OSError:  # it has vanished
            return []

    def walk(self) -> Iterator[tuple[int, str]]:
        """Yields (id, path) of every cgroup, parents before their children.

        A cgroup that vanishes in between is left out with its descendants.
        """
        yield os.stat(self.mount).st_ino, "/"
        pending = [""]
        while pending:
            children = self.children(pending.pop())
            yield from children
            pending += [path for _, path in children]


def v1_controllers() -> dict[str, tuple[int, int]]:
    """Controller -> its hierarchy's number and count of cgroups (/proc/cgroups)."""
    found = {}
    with open("/proc/cgroups", encoding="ascii") as file:
        for line in file:
            if not line.startswith("#"):
                name, number, cgroups, _ = line.split()
                found[name] = int(number), int(cgroups)
    return found


def parse_mountinfo(text: str) -> list[Hierarchy]:
    """The cgroup mounts in the text of a mountinfo file, in its order."""
    found = []
    for line in text.split("\n"):
        left, separator, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")
        if not separator or len(fields) < 6 or len(kind) < 3:
            continue
        if kind[0] not in ("cgroup", "cgroup2"):
            continue
        found.append(
            Hierarchy(
                version=2 if kind[0] == "cgroup2" else 1,
                mount=_unescape(fields[4]).rstrip("/"),
                controllers=_controllers(kind[2]) if kind[0] == "cgroup" else frozenset(),
                root=_unescape(fields[3]),
            )
        )
    return found


# Options of a v1 mount that are no controllers (cgroups(7), kernel/cgroup/cgroup-v1.c).
_FLAGS = {
    "rw",
    "ro",
    "none",
    "noprefix",
    "xattr",
    "clone_children",
    "cpuset_v2_mode",
    "favordynmods",
}


def _controllers(options: str) -> frozenset[str]:
    return frozenset(
        each
        for each in options.split(",")
        if each not in _FLAGS and not each.startswith("release_agent=")
    )


def _unescape(text: str) -> str:
    r"""Undoes the kernel's \040 for space, tab, newline and backslash."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def mounted(below: str = "/") -> list[Hierarchy]:
    """The cgroup mounts that this process sees, only those at or below a directory."""
    with open(MOUNTINFO, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        mounts = parse_mountinfo(file.read())
    prefix = os.path.realpath(below).rstrip("/")
    return [each for each in mounts if f"{each.mount}/".startswith(f"{prefix}/")]


def own_cgroup(hierarchy: Hierarchy) -> str | None:
    """The path of the cgroup in which this process is."""
    with open(OWN, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        return hierarchy.own_path(file.read())


def with_controller(mounts: Sequence[Hierarchy], controller: str) -> Hierarchy | None:
    """The first v1 hierarchy that has `controller`."""
    return next((each for each in mounts if controller in each.controllers), None)


def unified(mounts: Sequence[Hierarchy]) -> Hierarchy | None:
    """The cgroup2 hierarchy; of several mounts the last, as perf takes it."""
    return next((each for each in reversed(mounts) if each.version == 2), None)


def perf_hierarchy(mounts: Sequence[Hierarchy]) -> Hierarchy:
    """The hierarchy in which `perf record -G` looks names up.

    That is the first v1 mount with perf_event, else the last cgroup2 one
    (perf's tools/lib/api/fs/cgroup.c, cgroupfs_find_mountpoint). What is ranked is
    this one, so that a name that was scored is a name that perf can open.
    """
    chosen = with_controller(mounts, "perf_event") or unified(mounts)
    if chosen is None:
        raise SourceUnavailable(
            "no cgroup hierarchy that perf can filter on is mounted",
            "mount one: mount -t cgroup2 none /sys/fs/cgroup",
        )
    return chosen


HIERARCHIES = ("auto", "perf_event", "cpuacct", "unified")


def ranked_hierarchy(mounts: Sequence[Hierarchy], name: str = "auto") -> Hierarchy:
    """What is ranked: perf's hierarchy, or the one that has the controller `name`."""
    if name == "auto":
        return perf_hierarchy(mounts)
    chosen = unified(mounts) if name == "unified" else with_controller(mounts, name)
    if chosen is None:
        raise SourceUnavailable(
            f"no {'cgroup2' if name == 'unified' else 'v1 ' + name} hierarchy is mounted",
            "leave out --hierarchy",
        )
    return chosen


def memory_hierarchy(mounts: Sequence[Hierarchy]) -> Hierarchy | None:
    """Where memory is accounted: v1 if the controller is mounted there."""
    return with_controller(mounts, "memory") or unified(mounts)


def cpu_hierarchy(mounts: Sequence[Hierarchy], ranked: Hierarchy) -> Hierarchy | None:
    """Whose files count the CPU time of `ranked`'s cgroups.

    cgroup2 has its own cpu.stat, with no controller enabled (4.20, commit
    d41bf8c9deae). A v1 perf_event hierarchy has no counters: the cgroups of
    the same paths in the cpuacct hierarchy have them.
    """
    return ranked if ranked.version == 2 else with_controller(mounts, "cpuacct")
