"""One body of tests over all sources: the interface is a promise they all keep.

BPF needs the kernel; the files and the recordings do not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cgbpf.hierarchy import mounted, perf_hierarchy
from cgbpf.measure import interval
from cgbpf.model import Interval, Ranking, Recipe, Snapshot
from cgbpf.pipeline import ranking
from cgbpf.sources.base import Source
from cgbpf.sources.bpf import BpfSource
from cgbpf.sources.files import FilesSource
from cgbpf.sources.recorded import RecordedSource
from cgbpf.sources.saving import Saver
from tests.support.cgroups import Cgroup, CgroupTree
from tests.support.kernel import TICK_NS, settle, stolen_ns

MS = 1_000_000


@dataclass
class Scene:
    """A parent, a child, one that vanishes in the window and one that is new in it."""

    source: Source
    before: Snapshot
    after: Snapshot
    observed: Interval
    ranked: Ranking
    parent: Cgroup
    child: Cgroup
    vanishing: Cgroup
    vanished_id: int
    new: Cgroup
    idle: Cgroup
    used_by_kernel: dict[str, int]
    stolen_ns: int
    """By a hypervisor: wall-clock time that the kernel's files leave out."""

    def used(self, cgroup: Cgroup) -> int:
        found = dict(zip(self.observed.paths, self.observed.cpu_ns.tolist(), strict=True))
        return int(found.get(cgroup.path, 0))


def bpf() -> Source:
    return BpfSource(perf_hierarchy(mounted()))


def files() -> Source:
    return FilesSource(perf_hierarchy(mounted()), mounted())


LIVE = {"bpf": bpf, "files": files}
KERNEL = pytest.mark.kernel
SOURCES = [
    pytest.param("bpf", marks=KERNEL),
    "files",
    pytest.param("recorded bpf", marks=KERNEL),
    "recorded files",
]


def play(source: Source, tree: CgroupTree) -> Scene:
    """Lets the cgroups of the scene burn known times between two snapshots."""
    parent, child = tree.make("parent"), tree.make("parent/child")
    vanishing, idle = tree.make("vanishing"), tree.make("idle")
    vanished_id = vanishing.id
    for each in (parent, child, vanishing):
        each.brief(5).wait()
    watched = (parent, child, idle)
    settle()
    lifetime = {each.path: each.usage_ns() for each in watched}
    stolen = stolen_ns()
    before = source.snapshot()
    loads = [parent.brief(100), child.brief(200), vanishing.brief(50)]
    new = tree.make("new")
    loads.append(new.brief(100))
    for load in loads:
        load.wait(30)
    vanishing.remove()
    settle()
    after = source.snapshot()
    used = {each.path: each.usage_ns() - lifetime[each.path] for each in watched}
    used |= {new.path: new.usage_ns()}
    observed = interval(before, after, source)
    ranked = rank(observed, source, tree)
    for each in (parent, child, new):  # a recording can tell what was looked at
        source.look(each.path)
    return Scene(
        source, before, after, observed, ranked,
        parent, child, vanishing, vanished_id, new, idle, used,
        stolen_ns() - stolen + TICK_NS,
    )  # fmt: skip


def rank(observed: Interval, source: Source, tree: CgroupTree) -> Ranking:
    recipe = Recipe(level="leaf", include=(f"{tree.root.path}/*",))
    return ranking(observed, recipe, source)


@pytest.fixture(params=SOURCES)
def scene(request: pytest.FixtureRequest, cgroups: CgroupTree, tmp_path: Path) -> Iterator[Scene]:
    kind, live = str(request.param), str(request.param).removeprefix("recorded ")
    with ExitStack() as stack:
        if kind == live:
            yield play(stack.enter_context(closing(LIVE[live]())), cgroups)
            return
        with closing(Saver(LIVE[live](), tmp_path / "run")) as saver:
            played = play(saver, cgroups)
        replayed = stack.enter_context(closing(RecordedSource(tmp_path / "run")))
        before, after = replayed.snapshot(), replayed.snapshot()
        with pytest.raises(EOFError):
            replayed.snapshot()
        observed = interval(before, after, replayed)
        played.source, played.before, played.after = replayed, before, after
        played.observed, live_ranking = observed, played.ranked
        played.ranked = rank(observed, replayed, cgroups)
        assert played.ranked.rows == live_ranking.rows, "replayed as it was"
        yield played


def test_every_source_keeps_the_contract(scene: Scene) -> None:
    """One scene takes half a second: all that is promised is looked at in one go."""
    assert_snapshots_hold(scene)
    assert_times_are_right(scene)
    assert_paths_are_known(scene)
    assert_the_account_closes(scene)
    assert_what_is_there_can_be_looked_at(scene)
    assert_the_ranking_says_it(scene)
    scene.source.close()
    scene.source.close()


def assert_snapshots_hold(scene: Scene) -> None:
    for taken in (scene.before, scene.after):
        ids = taken.ids
        assert ids.dtype == taken.cpu_ns.dtype == np.uint64
        assert np.all(ids[1:] > ids[:-1]), "sorted, unique"
        assert len(taken.cpu_ns) == len(ids)
        assert taken.cpus >= 1
        if taken.switches is not None:
            assert len(taken.switches) == len(ids)
        if taken.cpu_ns_by_cpu is not None:
            assert np.array_equal(taken.cpu_ns_by_cpu.sum(axis=1, dtype=np.uint64), taken.cpu_ns)
    window_ns = scene.after.at_ns - scene.before.at_ns
    assert 0 < window_ns == pytest.approx(scene.observed.window_s * 1e9)
    assert abs(scene.after.time - time.time()) < 60
    assert scene.before.inclusive == scene.after.inclusive
    both, at = np.intersect1d(scene.before.ids, scene.after.ids, return_indices=True)[:2]
    assert len(both)
    later = scene.after.cpu_ns[np.searchsorted(scene.after.ids, both)]
    assert np.all(later >= scene.before.cpu_ns[at]), "counters never go back"


def assert_times_are_right(scene: Scene) -> None:
    """Self time: what the child used is not its parent's."""
    kernel = scene.used_by_kernel
    child = kernel[scene.child.path]
    expected = {
        scene.child.path: child,
        scene.parent.path: kernel[scene.parent.path] - child,
        scene.new.path: kernel[scene.new.path],
    }
    for cgroup in (scene.child, scene.parent, scene.new):
        difference = scene.used(cgroup) - expected[cgroup.path]
        least = 0.02 * expected[cgroup.path] + 3 * MS
        assert -least <= difference <= least + scene.stolen_ns
        assert scene.used(cgroup) >= 95 * MS
    assert scene.used(scene.idle) == 0


def assert_paths_are_known(scene: Scene) -> None:
    known = dict(zip(scene.observed.ids.tolist(), scene.observed.paths, strict=True))
    alive = {each.id: each.path for each in (scene.parent, scene.child, scene.new)}
    assert {number: known[number] for number in alive} == alive
    gone = scene.source.paths([scene.vanished_id, 2**50])
    assert gone == [scene.vanishing.path, None], "its last path is kept"
    assert known[min(known)] == "/"


def assert_the_account_closes(scene: Scene) -> None:
    observed = scene.observed
    everyone = int(observed.cpu_ns.sum())
    assert everyone + observed.idle_ns + observed.unattributed_ns == observed.total_ns
    assert observed.total_ns == pytest.approx(
        observed.cpus * observed.window_s * 1e9, rel=0.05, abs=40 * MS
    )
    # The files are 10 ms a step and CPU, and are not read at one moment.
    assert abs(observed.unattributed_ns) < 0.03 * observed.total_ns + 40 * MS
    assert observed.idle_ns >= 0


def assert_what_is_there_can_be_looked_at(scene: Scene) -> None:
    for cgroup in (scene.parent, scene.child, scene.new):
        assert scene.source.look(cgroup.path).id == cgroup.id
    assert scene.source.look(f"{scene.parent.path}-not-there").id is None
    assert scene.child.path in list(scene.source.all_paths())


def assert_the_ranking_says_it(scene: Scene) -> None:
    rows = {row.path: row for row in scene.ranked.rows}
    hottest = scene.ranked.rows[0]
    assert hottest.path == scene.child.path
    assert (hottest.alive, hottest.id) == (True, scene.child.id)
    assert rows[scene.new.path].alive
    if scene.vanishing.path in rows:
        gone = rows[scene.vanishing.path]
        assert (gone.alive, gone.memory_bytes) == (False, None)
        assert gone.cpu_ns >= 50 * MS


@pytest.mark.kernel
def test_the_exact_source_still_has_what_vanished(cgroups: CgroupTree) -> None:
    """The kernel's files can't: there it is in the parent's time."""
    with closing(bpf()) as source:
        scene = play(source, cgroups)
        assert scene.used(scene.vanishing) >= 50 * MS
        assert scene.vanishing.path in [row.path for row in scene.ranked.rows]
        assert scene.observed.switches is not None


@pytest.mark.parametrize("kind", [pytest.param("bpf", marks=KERNEL), "files"])
def test_a_replay_may_ask_for_more_than_was_shown(
    kind: str, cgroups: CgroupTree, tmp_path: Path
) -> None:
    """Saved with one row; replayed with all: what was there is not called gone."""
    with closing(Saver(LIVE[kind](), tmp_path / "run")) as saver:
        names = ("one", "two", "three")
        for name in names:
            cgroups.make(name)
        before = saver.snapshot()
        for name in names:
            cgroups.make(name).brief(20).wait()
        settle()
        observed = interval(before, saver.snapshot(), saver)
        recipe = Recipe(limit=1, include=(f"{cgroups.root.path}/*",))
        assert len(ranking(observed, recipe, saver).rows) == 1
    with closing(RecordedSource(tmp_path / "run")) as replayed:
        observed = interval(replayed.snapshot(), replayed.snapshot(), replayed)
        with pytest.raises(EOFError):
            replayed.snapshot()
        rows = rank(observed, replayed, cgroups).rows
    assert sorted(row.name for row in rows) == sorted(names)
    assert all(row.alive for row in rows)


Make = Callable[[], Source]


@pytest.mark.parametrize("make", [pytest.param(bpf, marks=KERNEL), files])
def test_a_source_may_be_closed_without_ever_being_used(make: Make) -> None:
    source = make()
    source.close()
    source.close()
