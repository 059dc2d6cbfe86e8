"""Two snapshots make one interval."""

from __future__ import annotations

from cgbpf.measure import interval
from cgbpf.model import Interval, Probe, Snapshot
from tests.support.build import SECOND, FakeSource, snapshot

PATHS = {1: "/", 2: "/a", 3: "/a/b", 4: "/c"}


def measured(before: Snapshot, after: Snapshot) -> Interval:
    return interval(before, after, FakeSource(paths=PATHS))


def used(observed: Interval) -> dict[str, int]:
    return dict(zip(observed.paths, observed.cpu_ns.tolist(), strict=True))


def test_each_cgroup_used_the_difference() -> None:
    before = snapshot({1: 100, 2: 200, 4: 7}, at_s=1)
    after = snapshot({1: 150, 2: 900, 4: 7}, at_s=2.5)
    observed = measured(before, after)
    assert used(observed) == {"/": 50, "/a": 700, "/c": 0}
    assert observed.window_s == 1.5
    assert observed.time == after.time


def test_a_new_cgroup_counts_from_zero_and_a_vanished_one_is_left_out() -> None:
    observed = measured(snapshot({1: 5, 2: 100}), snapshot({1: 5, 3: 40, 4: 1}))
    assert used(observed) == {"/": 0, "/a/b": 40, "/c": 1}


def test_a_new_cgroup_with_the_greatest_id_is_not_taken_for_the_last_one() -> None:
    observed = measured(snapshot({1: 5, 2: 100}), snapshot({1: 6, 2: 101, 4: 30}))
    assert used(observed) == {"/": 1, "/a": 1, "/c": 30}


def test_the_first_snapshot_may_be_empty_and_so_may_the_last() -> None:
    assert used(measured(snapshot({}), snapshot({1: 3, 2: 4}))) == {"/": 3, "/a": 4}
    assert used(measured(snapshot({1: 3}), snapshot({}))) == {}


def test_a_counter_that_went_back_counts_nothing() -> None:
    observed = measured(snapshot({1: 5, 2: 100}), snapshot({1: 4, 2: 300}))
    assert used(observed) == {"/": 0, "/a": 200}


def test_inclusive_counters_become_self_time() -> None:
    before = snapshot({1: 0, 2: 0, 3: 0, 4: 0}, inclusive=True)
    after = snapshot({1: 100, 2: 60, 3: 45, 4: 10}, inclusive=True)
    assert used(measured(before, after)) == {"/": 30, "/a": 15, "/a/b": 45, "/c": 10}


def test_self_time_is_never_negative_where_files_were_read_at_different_moments() -> None:
    before = snapshot({2: 0, 3: 0}, inclusive=True)
    after = snapshot({2: 40, 3: 45}, inclusive=True)
    assert used(measured(before, after)) == {"/a": 0, "/a/b": 45}


def test_a_child_whose_parent_is_missing_keeps_its_time() -> None:
    observed = measured(snapshot({}, inclusive=True), snapshot({1: 50, 3: 45}, inclusive=True))
    assert used(observed)["/a/b"] == 45


def test_counters_beyond_two_to_the_53_lose_no_nanosecond() -> None:
    big = 2**63 + 1
    observed = measured(snapshot({1: big}), snapshot({1: big + 3}))
    assert used(observed) == {"/": 3}


def test_switches_and_columns_by_cpu_are_differences_too() -> None:
    before = snapshot({1: 3}, switches={1: 10}, by_cpu={1: [1, 2]})
    after = snapshot({1: 30, 4: 9}, switches={1: 14, 4: 6}, by_cpu={1: [21, 9], 4: [0, 9]})
    observed = measured(before, after)
    assert observed.switches is not None
    assert observed.switches.tolist() == [4, 6]
    assert observed.cpu_ns_by_cpu is not None
    assert observed.cpu_ns_by_cpu.tolist() == [[20, 7], [0, 9]]


def test_what_one_snapshot_did_not_measure_is_not_measured() -> None:
    observed = measured(snapshot({1: 3}), snapshot({1: 30}, switches={1: 14}))
    assert observed.switches is None
    assert observed.cpu_ns_by_cpu is None


def test_the_account_closes_and_the_rest_is_shown() -> None:
    before = snapshot({1: 0, 2: 0}, covered_ns=5 * SECOND, idle_ns=SECOND)
    after = snapshot({1: 10, 2: 500}, covered_ns=7 * SECOND, idle_ns=2 * SECOND, at_s=1)
    observed = measured(before, after)
    assert (observed.total_ns, observed.idle_ns) == (2 * SECOND, SECOND)
    assert observed.unattributed_ns == SECOND - 510


def test_an_id_without_a_path_is_shown_as_unknown() -> None:
    observed = measured(snapshot({99: 0}), snapshot({99: 5}))
    assert used(observed) == {"unknown:99": 5}


def test_the_probe_of_the_last_snapshot_is_passed_on() -> None:
    probe = Probe(lost=3)
    assert measured(snapshot({1: 0}), snapshot({1: 1}, probe=probe)).probe is probe
