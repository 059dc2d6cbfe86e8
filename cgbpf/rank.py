"""Units -> those that are wanted, none containing another, in order.

Pure: no clock, no file. As `perf record -G` records a cgroup with all its
descendants, no unit is an ancestor of another, so that no sample is counted
twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import groupby
from typing import TYPE_CHECKING

from cgbpf.model import Dropped
from cgbpf.naming.identity import Identity
from cgbpf.units import Unit, Units

if TYPE_CHECKING:
    from cgbpf.model import U64, Floats


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
        if not wanted(unit.identity, include, exclude):
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
        if each.cpu_ns and not wanted(each.identity, (), exclude):
            return f"contains {each.path}, which is excluded"
    rivals = [each for each in nested if wanted(each.identity, include, ())]
    hottest = max(rivals, key=lambda each: each.cpu_ns, default=None)
    if hottest is None or (unit.cpu_ns and unit.cpu_ns >= hottest.cpu_ns):
        return None
    return f"contains {hottest.path}, which used more CPU by itself"


def wanted(identity: Identity, include: Sequence[str], exclude: Sequence[str]) -> bool:
    """Whether some `include` matches, if there is any, and no `exclude`."""
    included = not include or any(matches(identity, each) for each in include)
    return included and not any(matches(identity, each) for each in exclude)


def matches(identity: Identity, pattern: str) -> bool:
    """Whether a glob matches a unit's path or name, or `FIELD:GLOB` that field."""
    name, colon, glob = pattern.partition(":")
    if colon and name in Identity._fields:
        return fnmatchcase(getattr(identity, name), glob)
    return fnmatchcase(identity.path, pattern) or fnmatchcase(identity.name, pattern)


class Chosen:
    """The units that are left to be ranked: filtered, none containing another."""

    def __init__(self, units: Units, alone: Sequence[int], resolved: Sequence[Unit]) -> None:
        """`alone`: those of `units` that stand as they are; `resolved`: all others."""
        self._units, self._alone, self._resolved = units, alone, resolved
        import numpy as np

        others = np.array([each.cpu_ns for each in resolved], dtype=np.uint64)
        self.cpu_ns: U64 = np.concatenate([units.cpu_ns[np.asarray(alone, dtype=int)], others])

    def __len__(self) -> int:
        return len(self.cpu_ns)

    def unit(self, index: int) -> Unit:
        if index < len(self._alone):
            return self._units.unit(self._alone[index])
        return self._resolved[index - len(self._alone)]

    def path(self, index: int) -> str:
        if index < len(self._alone):
            return self._units.identity(self._alone[index]).path
        return self._resolved[index - len(self._alone)].path


def choose(
    units: Units, idle: Sequence[Unit], include: Sequence[str], exclude: Sequence[str]
) -> tuple[Chosen, list[Dropped]]:
    """What `select` leaves of `units` and `idle`; only what is related goes through it."""
    if idle:
        everything = [units.unit(index) for index in range(len(units))]
        resolved, dropped = select([*everything, *idle], include, exclude)
        return Chosen(units, [], resolved), dropped
    related = units.related()
    resolved, dropped = select(map(units.unit, related), include, exclude)
    alone: Sequence[int] = range(len(units))
    if related:
        alone = sorted(set(alone).difference(related))
    if include or exclude:
        alone = [each for each in alone if wanted(units.identity(each), include, exclude)]
    return Chosen(units, alone, resolved), dropped


def best(
    scores: Sequence[float | None] | Floats, cpu_ns: U64, path: Callable[[int], str]
) -> Iterator[int]:
    """Indices, highest score first, not measured last.

    Ties are broken by CPU time, then by path: the same way every time. Only as
    far as it is asked for.
    """
    import numpy as np

    score = np.array(scores, dtype=np.float64)  # None becomes NaN, which is sorted last
    order = np.lexsort((~cpu_ns, -score)).tolist()
    for _, tied in groupby(order, key=lambda index: (scores[index], cpu_ns[index])):
        yield from sorted(tied, key=path)
