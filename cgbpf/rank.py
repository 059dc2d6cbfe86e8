"""An interval -> units that never overlap, filtered and ordered.

Pure: no clock, no file. A unit is what a person means (a container, a
service); as `perf record -G` records a cgroup with all its descendants, no
unit is an ancestor of another, so that no sample is counted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from cgbpf.errors import BadRequest
from cgbpf.model import Dropped, Interval
from cgbpf.naming.identity import Identity, identify

LEVELS = ("container", "leaf", "top")
ROOT = "/"


@dataclass
class Unit:
    """A unit and the rows of the interval that belong to it."""

    identity: Identity
    cpu_ns: int = 0
    members: list[int] = field(default_factory=list)

    @property
    def path(self) -> str:
        return self.identity.path

    def absorb(self, other: Unit) -> None:
        self.cpu_ns += other.cpu_ns
        self.members += other.members


def grouper(level: str) -> Callable[[str], Identity | None]:
    """Path -> its unit at `level`, None where it belongs to none.

    "container": see `identify`. "leaf": each cgroup by itself. "top": its
    first component. A pattern such as "/kubepods/*/pod*": the ancestor whose
    components match the pattern's, one by one.
    """
    if level == "container":
        return identify
    if level == "leaf":
        return lambda path: named(path, path)
    if level == "top":
        return lambda path: named(path, path[: path.find("/", 1)] if path.count("/") > 1 else path)
    if not level.startswith("/") or level == ROOT:
        raise BadRequest(
            f"unknown --level {level!r}",
            "give container, leaf, top, or a pattern of paths such as '/kubepods/*/pod*'",
        )
    wanted = level.strip("/").split("/")

    def matching(path: str) -> Identity | None:
        parts = path.split("/")[1 : len(wanted) + 1]
        if len(parts) < len(wanted) or not all(map(fnmatchcase, parts, wanted)):
            return None
        return named(path, "/" + "/".join(parts))

    return matching


def named(path: str, unit: str) -> Identity:
    """The identity of the cgroup `unit` itself, an ancestor of `path` or the same."""
    identity = identify(unit)
    if identity.path == unit:
        return identity
    return Identity(unit, unit.rpartition("/")[2], "cgroup")


def units(interval: Interval, level: str) -> list[Unit]:
    """The units that used CPU in an interval, the root cgroup left out."""
    unit_of = grouper(level)
    found: dict[str, Unit] = {}
    used = interval.cpu_ns.tolist()
    for row, path in enumerate(interval.paths):
        if not used[row]:
            continue
        identity = unit_of(path) if path != ROOT else None
        if identity is None:
            continue
        unit = found.get(identity.path)
        if unit is None:
            unit = found[identity.path] = Unit(identity)
        unit.cpu_ns += used[row]
        unit.members.append(row)
    return list(found.values())


def idle_units(busy: Iterable[Unit], paths: Iterable[str], level: str) -> list[Unit]:
    """The units of `paths` that are not among the `busy` ones."""
    unit_of = grouper(level)
    known = {unit.path for unit in busy}
    found: dict[str, Unit] = {}
    for path in paths:
        identity = unit_of(path) if path != ROOT else None
        if identity is not None and identity.path not in known:
            found.setdefault(identity.path, Unit(identity))
    return list(found.values())


def without_overlap(candidates: Sequence[Unit]) -> tuple[list[Unit], list[Dropped]]:
    """Units of which none is an ancestor of another.

    Where one is, the hotter side wins: the ancestor takes its descendants'
    time if its own is at least that of each of them, else it is left out.
    """
    kept: list[Unit] = []
    dropped: list[Dropped] = []
    ordered = sorted(candidates, key=lambda unit: unit.path + "/")
    index = 0
    while index < len(ordered):
        unit = ordered[index]
        prefix = unit.path + "/"
        end = index + 1
        while end < len(ordered) and ordered[end].path.startswith(prefix):
            end += 1
        nested = ordered[index + 1 : end]
        hottest = max(nested, key=lambda each: each.cpu_ns, default=None)
        if hottest is None:
            kept.append(unit)
        elif unit.cpu_ns and unit.cpu_ns >= hottest.cpu_ns:
            for each in nested:
                unit.absorb(each)
            kept.append(unit)
            index = end
            continue
        elif unit.cpu_ns:
            dropped.append(
                Dropped(unit.path, f"contains {hottest.path}, which used more CPU by itself")
            )
        index += 1
    return kept, dropped


def matches(identity: Identity, pattern: str) -> bool:
    """Whether a glob matches a unit's path or name, or `FIELD:GLOB` that field."""
    name, colon, glob = pattern.partition(":")
    if colon and name in Identity._fields:
        return fnmatchcase(getattr(identity, name), glob)
    return fnmatchcase(identity.path, pattern) or fnmatchcase(identity.name, pattern)


def filtered(
    candidates: Iterable[Unit], include: Sequence[str], exclude: Sequence[str]
) -> list[Unit]:
    """Those that some `include` matches (all, if there is none) and no `exclude`."""
    return [
        unit
        for unit in candidates
        if (not include or any(matches(unit.identity, each) for each in include))
        and not any(matches(unit.identity, each) for each in exclude)
    ]


def best(candidates: Sequence[Unit], scores: Sequence[float | None]) -> list[int]:
    """Indices of `candidates`, highest score first, not measured last.

    Ties are broken by CPU time, then by path: the same way every time.
    """

    def key(index: int) -> tuple[bool, float, int, str]:
        score, unit = scores[index], candidates[index]
        return (score is None, -(score or 0.0), -unit.cpu_ns, unit.path)

    return sorted(range(len(candidates)), key=key)
