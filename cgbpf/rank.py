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
        return named
    if level == "top":
        return lambda path: named("/".join(path.split("/")[:2]))
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
        return named("/" + "/".join(parts))

    return matching


def named(unit: str) -> Identity:
    """The identity of the cgroup `unit` itself."""
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


def select(
    candidates: Iterable[Unit], include: Sequence[str], exclude: Sequence[str]
) -> tuple[list[Unit], list[Dropped]]:
    """The units that the globs leave, of which none contains another.

    Kept is what some `include` matches (all, if there is none) and no
    `exclude`. A unit stands for all that `perf record -G` records with it:

    - one that contains an excluded unit is left out, since perf would record that;
    - where one contains others that are wanted too, the hotter side wins: it
      takes their time if its own is at least that of each, else it is left out;
    - what it contains and nobody asked for is its own.
    """
    kept: list[Unit] = []
    dropped: list[Dropped] = []
    ordered = sorted(candidates, key=lambda unit: unit.path + "/")
    index = 0
    while index < len(ordered):
        unit, start = ordered[index], index + 1
        end = start
        while end < len(ordered) and ordered[end].path.startswith(unit.path + "/"):
            end += 1
        index = start
        if _excluded(unit, exclude) or not _included(unit, include):
            continue
        nested = ordered[start:end]
        obstacle = _obstacle(unit, nested, include, exclude)
        if obstacle is None:
            for each in nested:
                unit.absorb(each)
            kept.append(unit)
            index = end
        elif unit.cpu_ns:
            dropped.append(Dropped(unit.path, obstacle))
    return kept, dropped


def _obstacle(
    unit: Unit, nested: Sequence[Unit], include: Sequence[str], exclude: Sequence[str]
) -> str | None:
    """Why `unit` can't stand for all that it contains, None if it can."""
    for each in nested:
        if each.cpu_ns and _excluded(each, exclude):
            return f"contains {each.path}, which is excluded"
    wanted = [each for each in nested if _included(each, include)]
    hottest = max(wanted, key=lambda each: each.cpu_ns, default=None)
    if hottest is None or (unit.cpu_ns and unit.cpu_ns >= hottest.cpu_ns):
        return None
    return f"contains {hottest.path}, which used more CPU by itself"


def _included(unit: Unit, globs: Sequence[str]) -> bool:
    return not globs or any(matches(unit.identity, each) for each in globs)


def _excluded(unit: Unit, globs: Sequence[str]) -> bool:
    return any(matches(unit.identity, each) for each in globs)


def matches(identity: Identity, pattern: str) -> bool:
    """Whether a glob matches a unit's path or name, or `FIELD:GLOB` that field."""
    name, colon, glob = pattern.partition(":")
    if colon and name in Identity._fields:
        return fnmatchcase(getattr(identity, name), glob)
    return fnmatchcase(identity.path, pattern) or fnmatchcase(identity.name, pattern)


def best(candidates: Sequence[Unit], scores: Sequence[float | None]) -> list[int]:
    """Indices of `candidates`, highest score first, not measured last.

    Ties are broken by CPU time, then by path: the same way every time.
    """

    def key(index: int) -> tuple[bool, float, int, str]:
        score, unit = scores[index], candidates[index]
        return (score is None, -(score or 0.0), -unit.cpu_ns, unit.path)

    return sorted(range(len(candidates)), key=key)
