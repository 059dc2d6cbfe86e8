"""Cgroups that come and go, a map that is full, CPUs that go: counted and reported."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cgbpf.hierarchy import mounted, with_controller
from cgbpf.measure import interval
from cgbpf.model import Recipe
from cgbpf.pipeline import observe, ranking
from cgbpf.sources.bpf import BpfSource
from tests.kernel.conftest import OpenProbe
from tests.support.cgroups import Cgroup, CgroupTree
from tests.support.kernel import TICK_NS, bracket, used
from tests.support.requirements import unavailable

MS = 1_000_000
SECOND_CPU = Path("/sys/devices/system/cpu/cpu1/online")


def live_and_die(cgroup: Cgroup, cpu_ms: float) -> int:
    """Burns `cpu_ms` there, removes it, and returns its id."""
    number = cgroup.id
    assert cgroup.brief(cpu_ms).wait() == 0
    cgroup.remove()
    return number


def test_what_lived_and_died_inside_the_window_is_there_with_its_path(
    cgroups: CgroupTree, probe: BpfSource
) -> None:
    before = probe.snapshot()
    parent = cgroups.make("parent")
    mayfly = cgroups.make("parent/mayfly")
    number = live_and_die(mayfly, 50)
    after = probe.snapshot()
    assert number in after.ids.tolist()
    found = used(before, after, probe)
    assert 50 * MS <= found[mayfly.path] <= 500 * MS
    assert found.get(parent.path, 0) < 10 * MS, "its time is not its parent's"
    assert probe.look(mayfly.path).id is None


def test_a_hundred_short_lived_cgroups_are_all_seen_with_their_names(
    cgroups: CgroupTree, probe: BpfSource
) -> None:
    before = probe.snapshot()
    made = [cgroups.make(f"short-{number}") for number in range(100)]
    ids = {live_and_die(each, 0): each.path for each in made}
    after = probe.snapshot()
    assert len(ids) == 100
    assert dict(zip(ids, probe.paths(ids), strict=True)) == ids
    found = used(before, after, probe)
    assert not [path for path in ids.values() if not found[path]]
    assert after.probe is not None
    assert after.probe.paths_lost == 0


def test_a_cgroup_removed_after_the_snapshot_still_has_its_name(
    cgroups: CgroupTree, probe: BpfSource
) -> None:
    """Its path is asked for once the snapshot is taken; between the two it may go."""
    before = probe.snapshot()
    mayfly = cgroups.make("mayfly")
    mayfly.brief(20).wait()
    after = probe.snapshot()
    mayfly.remove()
    assert mayfly.path in used(before, after, probe)


def test_a_dead_cgroups_entry_is_given_up_and_nobody_elses(
    cgroups: CgroupTree, probe: BpfSource
) -> None:
    stays = cgroups.make("stays")
    stays.brief(5).wait()
    dead = {live_and_die(cgroups.make(f"dead-{number}"), 1) for number in range(20)}
    first = probe.snapshot()
    assert dead <= set(first.ids.tolist())
    for _ in range(3):
        last = probe.snapshot()
    assert dead.isdisjoint(last.ids.tolist())
    assert stays.id in last.ids.tolist()
    assert last.probe is not None
    assert last.probe.map_used == len(last.ids)


def test_no_dead_cgroup_is_shown_without_its_name(cgroups: CgroupTree, probe: BpfSource) -> None:
    """Its name is kept at least as long as its entry is."""
    mayfly = cgroups.make("mayfly")
    number = live_and_die(mayfly, 5)
    before = probe.snapshot()
    for _ in range(4):
        after = probe.snapshot()
        observed = interval(before, after, probe)
        names = dict(zip(observed.ids.tolist(), observed.paths, strict=True))
        assert names.get(number, mayfly.path) == mayfly.path
        before = after


def test_a_path_too_long_for_the_tracepoint_is_right_or_unknown_but_never_cut(
    cgroups: CgroupTree, probe: BpfSource
) -> None:
    """The kernel hands over 1,024 bytes at most (TRACE_CGROUP_PATH_LEN)."""
    deep = cgroups.make("/".join(letter * 250 for letter in "abcde"))
    before = probe.snapshot()
    number = live_and_die(deep, 5)
    observed = interval(before, probe.snapshot(), probe)
    names = dict(zip(observed.ids.tolist(), observed.paths, strict=True))
    assert names[number] in (deep.path, f"unknown:{number}")


def test_a_full_map_counts_what_it_lost_and_the_account_still_closes(
    cgroups: CgroupTree, open_probe: OpenProbe
) -> None:
    source = open_probe(8)
    before = source.snapshot()
    crowd = [cgroups.make(f"crowd/{number}") for number in range(12)]
    for each in crowd:
        each.duty(20, period_ms=5)
    time.sleep(0.5)
    counted = sum(each.usage_ns() for each in crowd)
    after = source.snapshot()
    assert after.probe is not None
    assert before.probe is not None
    assert (after.probe.map_used, after.probe.map_max) == (8, 8)
    assert after.probe.lost > before.probe.lost
    lost_ns = after.probe.lost_ns - before.probe.lost_ns
    assert lost_ns > 10 * MS
    observed = interval(before, after, source)
    assert observed.unattributed_ns == pytest.approx(lost_ns, abs=0.005 * observed.total_ns)
    kept = sum(used(before, after, source).get(each.path, 0) for each in crowd)
    assert kept + lost_ns >= 0.99 * counted, "each is kept or lost, and said so"


def test_a_map_with_room_loses_nothing(cgroups: CgroupTree, probe: BpfSource) -> None:
    for number in range(12):
        cgroups.make(f"crowd/{number}").duty(20, period_ms=5)
    time.sleep(0.2)
    taken = probe.snapshot().probe
    assert taken is not None
    assert (taken.lost, taken.lost_ns, taken.paths_lost, taken.offline_cpus) == (0, 0, 0, ())
    assert 12 <= taken.map_used < taken.map_max


def cpusets() -> dict[Path, str]:
    """The CPUs of every v1 cpuset but the root: taking a CPU away narrows them for good."""
    found = with_controller(mounted(), "cpuset")
    folders = [] if found is None else [Path(found.directory(path)) for _, path in found.walk()]
    files = [folder / "cpuset.cpus" for folder in folders[1:]]
    return {file: file.read_text() for file in files if file.exists()}


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Takes CPU 1 away, and brings it back whatever happens, for all who had it."""
    if not (SECOND_CPU.exists() and os.access(SECOND_CPU, os.W_OK)):
        unavailable("no CPU of this machine can be taken offline")
    affinity, sets = os.sched_getaffinity(0), cpusets()
    SECOND_CPU.write_text("0")
    try:
        yield
    finally:
        SECOND_CPU.write_text("1")
        os.sched_setaffinity(0, affinity)
        for file, cpus in sets.items():  # parents first
            with contextlib.suppress(OSError):  # it may be gone by now
                if file.read_text() != cpus:
                    file.write_text(cpus)


def test_a_cpu_that_goes_and_comes_back_is_reported_and_nothing_is_lost(
    cgroups: CgroupTree, probe: BpfSource
) -> None:
    hog = cgroups.make("hog")
    for _ in range(2):
        hog.spin()
    begin = bracket(probe, hog)
    time.sleep(0.2)
    with offline():
        time.sleep(0.2)
        gone = bracket(probe, hog)
    time.sleep(0.2)
    back = bracket(probe, hog)
    assert gone.snapshot.probe is not None
    assert back.snapshot.probe is not None
    assert (gone.snapshot.probe.offline_cpus, gone.snapshot.cpus) == ((1,), 1)
    assert (back.snapshot.probe.offline_cpus, back.snapshot.cpus) == ((), 2)
    for before, after in ((begin, gone), (gone, back), (begin, back)):
        observed = interval(before.snapshot, after.snapshot, probe)
        counted = int(observed.cpu_ns[observed.paths.index(hog.path)])
        lowest, highest = after.below_ns - before.above_ns, after.above_ns - before.below_ns
        stolen = after.stolen_ns - before.stolen_ns + 2 * TICK_NS
        assert lowest * 0.99 <= counted <= highest * 1.01 + stolen
        assert abs(observed.unattributed_ns) < 0.01 * observed.total_ns


def test_the_time_that_a_cpu_was_away_is_nobodys(cgroups: CgroupTree, probe: BpfSource) -> None:
    for name in ("one", "other"):
        cgroups.make(name).spin()
    before = probe.snapshot()
    with offline():
        away = time.monotonic_ns()
        time.sleep(0.5)
        away = time.monotonic_ns() - away
    observed = interval(before, probe.snapshot(), probe)
    there = 2 * (observed.end_ns - observed.start_ns) - away
    assert int(observed.cpu_ns.sum()) <= 1.01 * there
    assert observed.total_ns <= 1.01 * (there + away)


def test_the_busiest_of_three_is_first_and_the_dead_are_marked(
    cgroups: CgroupTree, probe: BpfSource
) -> None:
    burnt = {"low": 30, "high": 120, "middle": 60, "mayfly": 10}
    loads = {name: cgroups.make(name) for name in burnt}
    mayfly = loads["mayfly"]

    def burn() -> None:
        for load in [loads[name].brief(burnt[name]) for name in burnt]:
            load.wait(30)
        mayfly.remove()

    observed = observe(probe, 0.1, meanwhile=burn)
    recipe = Recipe(include=(f"{cgroups.root.path}/*",))
    rows = ranking(observed, recipe, probe).rows
    assert [row.name for row in rows if row.alive] == ["high", "middle", "low"]
    assert [row.path for row in rows if not row.alive] == [mayfly.path]
    for_perf = ranking(observed, recipe, probe, for_perf=True)
    assert mayfly.path in dict(for_perf.dropped)
    assert [row.name for row in for_perf.rows] == ["high", "middle", "low"]
