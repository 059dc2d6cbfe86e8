"""Which unit each cgroup belongs to: what a person means by a container or a service."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, cast

from cgbpf.errors import BadRequest
from cgbpf.model import Interval
from cgbpf.naming.identity import Identity, identify

if TYPE_CHECKING:
    from cgbpf.model import U64

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
    pattern = level.strip("/").split("/")

    def matching(path: str) -> Identity | None:
        parts = path.split("/")[1 : len(pattern) + 1]
        if len(parts) < len(pattern) or not all(map(fnmatchcase, parts, pattern)):
            return None
        return named("/" + "/".join(parts))

    return matching


def named(unit: str) -> Identity:
    """The identity of the cgroup `unit` itself."""
    identity = identify(unit)
    if identity.path == unit:
        return identity
    return Identity(unit, unit.rpartition("/")[2], "cgroup")


class Grouping:
    """Which unit each path belongs to at one level, remembered.

    Kept by whoever ranks again and again; it grows with the paths it is asked
    for, and starts anew when most of them are of the dead.
    """

    def __init__(self, level: str) -> None:
        self._unit_of = grouper(level)
        self._clear()

    def _clear(self) -> None:
        self.identities: list[Identity] = []
        self.related: set[int] = set()
        """Units that are an ancestor or a descendant of another."""
        self._number_of_path: dict[str, int] = {}
        self._number_of_unit: dict[str, int] = {}
        self._below: dict[str, list[int]] = {}

    def numbers(self, paths: Sequence[str]) -> list[int]:
        """The index into `identities` of the unit of each path, -1 for none."""
        known = self._number_of_path
        if len(known) > 4 * len(paths) + 10_000:
            self._clear()
            known = self._number_of_path
        found = list(map(known.get, paths))
        if None in found:
            return [self._number(path) for path in paths]
        return cast("list[int]", found)

    def _number(self, path: str) -> int:
        if path not in self._number_of_path:
            identity = self._unit_of(path) if path != ROOT else None
            self._number_of_path[path] = -1 if identity is None else self._unit(identity)
        return self._number_of_path[path]

    def _unit(self, identity: Identity) -> int:
        known = self._number_of_unit
        number = known.setdefault(identity.path, len(self.identities))
        if number < len(self.identities):
            return number
        self.identities.append(identity)
        relatives = list(self._below.get(identity.path, ()))
        ancestor = identity.path.rpartition("/")[0]
        while ancestor:
            self._below.setdefault(ancestor, []).append(number)
            if ancestor in known:
                relatives.append(known[ancestor])
            ancestor = ancestor.rpartition("/")[0]
        if relatives:
            self.related.update(relatives, [number])
        return number


class Units:
    """The units that used CPU in an interval, the root cgroup left out, as columns.

    Of ten thousand, only those that are shown, or that others contain, become
    a `Unit`.
    """

    def __init__(self, interval: Interval, grouping: Grouping) -> None:
        import numpy as np  # not needed to check a recipe

        rows = np.flatnonzero(interval.cpu_ns)
        paths = interval.paths
        of = np.array(grouping.numbers([paths[row] for row in rows.tolist()]), dtype=np.int64)
        self._rows, self._of = rows[of >= 0], of[of >= 0]
        # Not bincount: its weights are floats, and lose nanoseconds.
        sums = np.zeros(len(grouping.identities), dtype=np.uint64)
        np.add.at(sums, self._of, interval.cpu_ns[self._rows])
        self._grouping = grouping
        self._numbers = np.flatnonzero(sums)
        self.cpu_ns: U64 = sums[self._numbers]

    def __len__(self) -> int:
        return len(self.cpu_ns)

    def identity(self, index: int) -> Identity:
        return self._grouping.identities[int(self._numbers[index])]

    def unit(self, index: int) -> Unit:
        members = self._rows[self._of == self._numbers[index]].tolist()
        return Unit(self.identity(index), int(self.cpu_ns[index]), members)

    def related(self) -> list[int]:
        """Indices of the units that contain others, or that others contain."""
        related = self._grouping.related
        if not related:
            return []
        return [i for i, number in enumerate(self._numbers.tolist()) if number in related]


def idle_units(busy: Units, paths: Iterable[str], level: str) -> list[Unit]:
    """The units of `paths` that are not among the `busy` ones."""
    unit_of = grouper(level)
    known = {busy.identity(index).path for index in range(len(busy))}
    found: dict[str, Unit] = {}
    for path in paths:
        identity = unit_of(path) if path != ROOT else None
        if identity is not None and identity.path not in known:
            found.setdefault(identity.path, Unit(identity))
    return list(found.values())
