"""From counters to a ranking: BPF against reading the same files.

Every cgroup ran since the first snapshot, so that each has a place in the
ranking: on most hosts most are idle, which is faster (`bpf_quiet`). `known`
means that all paths are known, as in a program that stays; `new` that none is;
`churn` that one cgroup was born since the last ranking.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import gc
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import cgbpf.measure
import cgbpf.pipeline
import cgbpf.sources.bpf
from cgbpf.hierarchy import Hierarchy, mounted, perf_hierarchy
from cgbpf.model import Ranking, Recipe, Snapshot
from cgbpf.naming.identity import identify
from cgbpf.naming.places import Places
from cgbpf.sources.base import Source
from cgbpf.sources.bpf import BpfSource
from cgbpf.sources.files import FilesSource
from cgbpf.sources.maps import HashReader
from cgbpf.units import Grouping
from tools.bench.cgroups import Tree, tree, visit
from tools.bench.common import JSON, Claims, benchmark, note, ratio, spread, timed

SIZES = (1_000, 10_000)
SPIN_S = 30e-6
Times = dict[str, list[float]]


@dataclasses.dataclass(frozen=True)
class Known(Hierarchy):
    """A hierarchy that was walked before, and is not again."""

    places: tuple[tuple[int, str], ...] = ()

    def walk(self) -> Iterator[tuple[int, str]]:
        yield from self.places


def forgetful(source: BpfSource) -> BpfSource:
    """The same source, but it has to find every path anew. Close its `_places`."""
    new = copy.copy(source)
    new._places = Places(source.hierarchy)
    identify.cache_clear()
    return new


class Contest:
    """The sources, their first snapshots, and how long each takes from there."""

    def __init__(self, bpf: BpfSource, ours: Tree) -> None:
        mounts = mounted()
        hierarchy = bpf.hierarchy
        known = Known(**vars(hierarchy), places=tuple(hierarchy.walk()))
        self._bpf, self._ours = bpf, ours
        self._births = 0
        self._groupings: dict[int, Grouping] = {}
        self.sources: dict[str, Source] = {
            "bpf_known": bpf,
            "files_known": FilesSource(known, [known, *mounts]),
            "files_walk": FilesSource(hierarchy, mounts),
        }
        self.first = {name: each.snapshot() for name, each in self.sources.items()}
        self.times: Times = {}

    def turn(self) -> None:
        """Each way once. Collects garbage in between, so that nobody pays for another's."""
        for name, source in self.sources.items():
            if name == "files_walk":
                self._groupings.pop(id(source), None)
                identify.cache_clear()
            self._take(name, source, self.first[name])
        new = forgetful(self._bpf)
        with contextlib.closing(new._places):
            self._groupings.pop(id(new), None)
            self._take("bpf_new", new, self.first["bpf_known"])
        self._born()
        self._take("bpf_churn", self._bpf, self.first["bpf_known"])
        self._take("bpf_quiet", self._bpf, self._bpf.snapshot())

    def _born(self) -> None:
        """One more cgroup, so that nothing kept of the last ranking fits as it is."""
        self._births += 1
        visit([self._ours.directory(self._ours.make(f"born-{self._births}"))], SPIN_S)

    def ranked(self) -> Ranking:
        """BPF's ranking, as it is timed."""
        return self._rank(self._bpf, self.first["bpf_known"], self._bpf.snapshot())

    def _rank(self, source: Source, first: Snapshot, second: Snapshot) -> Ranking:
        observed = cgbpf.measure.interval(first, second, source)
        # Kept as `top` keeps it, but for those to whom every path is new.
        grouping = self._groupings.setdefault(id(source), Grouping(Recipe().level))
        return cgbpf.pipeline.ranking(observed, Recipe(), source, grouping=grouping)

    def _take(self, name: str, source: Source, first: Snapshot) -> None:
        gc.collect()
        read, second = timed(source.snapshot)
        rest, _ = timed(lambda: self._rank(source, first, second))
        self.times.setdefault(f"{name}_read", []).append(read)
        self.times.setdefault(f"{name}_ranked", []).append(read + rest)


# Steps of BPF's way: where the function is looked up, and how it is called here.
# One that is no longer there is left out, and its time is then its caller's.
_STEPS: tuple[tuple[Any, str, str], ...] = (
    (BpfSource, "_flush", "flush"),
    (cgbpf.sources.bpf, "read_one", "CPU states"),
    (HashReader, "read", "batch read"),
    (HashReader, "drain", "removed cgroups"),
    (BpfSource, "_probe", "probe's own state"),
    (BpfSource, "snapshot", "columns"),
    (BpfSource, "paths", "paths"),
    (cgbpf.measure, "interval", "difference"),
    (cgbpf.pipeline, "Units", "grouping"),
    (cgbpf.pipeline, "choose", "overlap"),
    (cgbpf.pipeline, "best", "order"),
    (cgbpf.pipeline, "ranking", "scores and rows"),
)


@contextlib.contextmanager
def stopwatch() -> Iterator[dict[str, float]]:
    """Milliseconds spent in each step of BPF's way, less the steps inside it."""
    spent: dict[str, float] = {}
    inner = [0.0]

    def watched(original: Callable[..., Any], label: str, *args: Any, **rest: Any) -> Any:
        inner.append(0.0)
        start = time.perf_counter_ns()
        try:
            return original(*args, **rest)
        finally:
            took = (time.perf_counter_ns() - start) / 1e6
            spent[label] = spent.get(label, 0.0) + took - inner.pop()
            inner[-1] += took

    originals = [(owner, name, getattr(owner, name, None), label) for owner, name, label in _STEPS]
    for owner, name, original, label in originals:
        if original is not None:
            setattr(owner, name, _bound(owner, original, partial(watched, original, label)))
    try:
        yield spent
    finally:
        for owner, name, original, _ in originals:
            if original is not None:
                setattr(owner, name, original)


def _bound(owner: Any, original: Any, wrapper: Callable[..., Any]) -> Any:
    """`wrapper` as a plain function, which a class binds and a partial is not."""
    return (lambda *args, **rest: wrapper(*args, **rest)) if isinstance(owner, type) else wrapper


def breakdown(contest: Contest, repetitions: int) -> dict[str, float]:
    """Median milliseconds of each step, paths known."""
    found: Times = {}
    for _ in range(repetitions):
        gc.collect()
        with stopwatch() as spent:
            contest.ranked()
        for label, took in spent.items():
            found.setdefault(label, []).append(took)
    return {label: round(spread(each).median, 3) for label, each in found.items()}


def measure(size: int, repetitions: int) -> JSON:
    """All ways at one size, in turns."""
    hierarchy = perf_hierarchy(mounted())
    with contextlib.closing(BpfSource(hierarchy)) as bpf, tree(hierarchy) as ours:
        paths = ours.containers(size)
        contest = Contest(bpf, ours)
        visit([ours.directory(path) for path in paths], SPIN_S)
        result = contest.ranked()
        if result.units < size:
            raise RuntimeError(f"only {result.units} of {size} cgroups are in the BPF map")
        for _ in range(repetitions + 1):
            contest.turn()
        times = {name: each[1:] for name, each in contest.times.items()}  # the first warms up
        return {
            "ms": {name: spread(each).json() for name, each in times.items()},
            "ratio": {
                f"{way}_to_{peer}": ratio(times[way], times[peer]).json()
                for way, peer in (
                    ("bpf_known_ranked", "files_known_ranked"),
                    ("bpf_known_ranked", "files_known_read"),
                    ("bpf_known_read", "files_known_read"),
                    ("bpf_new_ranked", "files_walk_ranked"),
                    ("bpf_new_ranked", "files_walk_read"),
                    ("bpf_churn_ranked", "files_known_read"),
                    ("bpf_quiet_ranked", "files_known_read"),
                )
            },
            "bpf_known_steps_ms": breakdown(contest, max(3, repetitions)),
        }


def show(size: int, result: JSON) -> None:
    note(f"{size} cgroups, ms: median (quartiles)")
    for name, each in result["ms"].items():
        note(f"  {name:20} {each['median']:9.2f}  ({each['q1']:.2f} .. {each['q3']:.2f})")
    note("  ratios: " + ", ".join(f"{k} {v['median']:.3f}" for k, v in result["ratio"].items()))
    steps = result["bpf_known_steps_ms"]
    note("  BPF, paths known, goes to: " + ", ".join(f"{k} {v:.2f}" for k, v in steps.items()))


def body(quick: bool, claims: Claims) -> JSON:
    results: JSON = {}
    for size in SIZES:
        result = measure(size, 4 if quick else 15)
        show(size, result)
        results[str(size)] = result
    largest = results[str(SIZES[-1])]["ratio"]
    claims.at_most(
        f"{SIZES[-1]}: BPF read and ranked, to the files' read alone, paths known",
        largest["bpf_known_ranked_to_files_known_read"]["median"],
        1 / 10,
    )
    claims.at_most(
        f"{SIZES[-1]}: BPF read and ranked, to the files' walk and read alone, all paths new",
        largest["bpf_new_ranked_to_files_walk_read"]["median"],
        1 / 3,
    )
    return results


if __name__ == "__main__":
    benchmark("snapshot", body)
