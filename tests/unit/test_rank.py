"""Units of an interval: levels, no overlap, filters, order. And the ranking made of them."""

from __future__ import annotations

import random

import numpy as np
import pytest

from cgbpf.errors import BadRequest, NothingFound
from cgbpf.measure import interval as difference
from cgbpf.model import Dropped, Interval, Ranking, Recipe, Seen
from cgbpf.naming.identity import Identity, identify
from cgbpf.pipeline import observe, ranking, require_rows
from cgbpf.rank import best, choose, matches, select
from cgbpf.recipe import MAX_LIMIT, check_recipe
from cgbpf.units import Grouping, Unit, Units, grouper, idle_units, named
from tests.support.build import SECOND, FakeSource, interval, snapshot

A = "a" * 64
B = "b" * 64
MS = 1_000_000


def unit(path: str, cpu_ns: int = 1) -> Unit:
    return Unit(named(path), cpu_ns, [0])


def by_unit(observed: Interval, level: str) -> dict[str, int]:
    found = Units(observed, Grouping(level))
    return {found.identity(each).path: found.cpu_ns[each] for each in range(len(found))}


USED = {
    "/": 1000,
    f"/docker/{A}": 10,
    f"/docker/{A}/init": 5,
    f"/docker/{B}": 7,
    "/system.slice/a.service/x": 3,
    "/kubepods/burstable/podx/web": 2,
    "/idle": 0,
}


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (
            "container",
            {
                f"/docker/{A}": 15,
                f"/docker/{B}": 7,
                "/system.slice/a.service": 3,
                "/kubepods/burstable/podx/web": 2,
            },
        ),
        (
            "leaf",
            {
                f"/docker/{A}": 10,
                f"/docker/{A}/init": 5,
                f"/docker/{B}": 7,
                "/system.slice/a.service/x": 3,
                "/kubepods/burstable/podx/web": 2,
            },
        ),
        ("top", {"/docker": 22, "/system.slice": 3, "/kubepods": 2}),
        ("/docker/*", {f"/docker/{A}": 15, f"/docker/{B}": 7}),
        ("/kubepods/*/pod*", {"/kubepods/burstable/podx": 2}),
        ("/kubepods/*/pod*/", {"/kubepods/burstable/podx": 2}),
        ("/nothing/*", {}),
    ],
)
def test_levels(level: str, expected: dict[str, int]) -> None:
    assert by_unit(interval(USED), level) == expected


def test_the_root_is_never_a_unit() -> None:
    for level in ("container", "leaf", "top", "/*"):
        assert "/" not in by_unit(interval({"/": 5, "/a": 1}), level)


@pytest.mark.parametrize("level", ["container", "leaf", "top"])
def test_a_cgroup_of_unknown_path_is_a_unit_of_its_own_and_not_hidden(level: str) -> None:
    assert by_unit(interval({"unknown:9": 4, "/a": 1}), level) == {"unknown:9": 4, "/a": 1}


@pytest.mark.parametrize("level", ["", "/", "pod", "containers", "docker/*", "LEAF"])
def test_a_level_that_is_none_is_refused(level: str) -> None:
    with pytest.raises(BadRequest, match="--level"):
        grouper(level)


def test_a_pattern_matches_component_by_component() -> None:
    unit_of = grouper("/a/*")
    assert unit_of("/a/b/c") == named("/a/b")
    assert unit_of("/a") is None
    assert unit_of("/ab/c") is None


def test_a_unit_that_a_level_cuts_inside_a_container_is_named_for_itself() -> None:
    assert named(f"/docker/{A}/init").name == "init"
    assert named(f"/docker/{A}").kind == "docker"


def test_the_hotter_parent_takes_its_children() -> None:
    kept, dropped = select([unit("/a", 10), unit("/a/b", 4), unit("/a/c/d", 5)], (), ())
    assert [(each.path, each.cpu_ns, len(each.members)) for each in kept] == [("/a", 19, 3)]
    assert dropped == []


def test_a_parent_below_its_hottest_child_is_left_out_with_the_reason() -> None:
    kept, dropped = select([unit("/a", 4), unit("/a/b", 5), unit("/a/c", 1)], (), ())
    assert [each.path for each in kept] == ["/a/b", "/a/c"]
    assert dropped == [Dropped("/a", "contains /a/b, which used more CPU by itself")]


def test_the_rule_holds_again_below_a_parent_that_was_left_out() -> None:
    kept, dropped = select([unit("/a", 1), unit("/a/b", 9), unit("/a/b/c", 3)], (), ())
    assert [(each.path, each.cpu_ns) for each in kept] == [("/a/b", 12)]
    assert [each.path for each in dropped] == ["/a"]


def test_an_equal_parent_wins_and_siblings_with_a_common_prefix_are_no_relatives() -> None:
    kept, dropped = select([unit("/a", 5), unit("/a/b", 5), unit("/a-b", 7), unit("/ab")], (), ())
    assert sorted(each.path for each in kept) == ["/a", "/a-b", "/ab"]
    assert dropped == []


def test_nothing_ever_overlaps_and_no_time_is_counted_twice() -> None:
    chance = random.Random(5)
    for _ in range(200):
        paths = {"/" + "/".join(chance.choices("ab-", k=chance.randint(1, 4))) for _ in range(8)}
        candidates = [unit(path, chance.randint(0, 3)) for path in sorted(paths)]
        total = sum(each.cpu_ns for each in candidates)
        kept, dropped = select(candidates, (), ())
        chosen = [each.path for each in kept]
        assert not [(a, b) for a in chosen for b in chosen if b.startswith(a + "/")]
        lost = sum(unit.cpu_ns for unit in candidates if unit.path in {d.path for d in dropped})
        assert sum(each.cpu_ns for each in kept) == total - lost


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        (f"/docker/{A}", True),
        ("/docker/*", True),
        ("aaaaaaaaaaaa", True),
        ("aaa*", True),
        ("kind:docker", True),
        ("kind:dock*", True),
        ("name:aaaa*", True),
        ("path:/docker/*", True),
        ("kind:podman", False),
        ("docker", False),
        ("/DOCKER/*", False),
        ("", False),
    ],
)
def test_globs_match_path_or_name_and_fields_by_name(pattern: str, matched: bool) -> None:
    assert matches(identify(f"/docker/{A}"), pattern) is matched


def test_a_colon_in_a_name_is_no_field() -> None:
    assert matches(Identity("/x/a:b", "a:b", "cgroup"), "a:*")


def test_filters_include_any_and_exclude_all() -> None:
    candidates = [unit("/a"), unit("/b"), unit("/c")]

    def kept(include: list[str], exclude: list[str]) -> list[str]:
        return [each.path for each in select(candidates, include, exclude)[0]]

    assert kept([], []) == ["/a", "/b", "/c"]
    assert kept(["/a", "c"], []) == ["/a", "/c"]
    assert kept([], ["/a", "c"]) == ["/b"]
    assert kept(["/*"], ["/b"]) == ["/a", "/c"]
    assert kept(["/nothing"], []) == []


def test_what_contains_an_excluded_unit_is_left_out_as_perf_would_record_it() -> None:
    kept, dropped = select([unit("/a", 9), unit("/a/b", 1), unit("/c", 1)], (), ("/a/b",))
    assert [each.path for each in kept] == ["/c"]
    assert dropped == [Dropped("/a", "contains /a/b, which is excluded")]


def test_what_nobody_asked_for_belongs_to_the_wanted_unit_that_contains_it() -> None:
    kept, dropped = select([unit("/a", 1), unit("/a/b", 9), unit("/c", 5)], ("/a",), ())
    assert [(each.path, each.cpu_ns) for each in kept] == [("/a", 10)]
    assert dropped == []


def best_of(candidates: list[Unit], scores: list[float | None]) -> list[int]:
    used = np.array([each.cpu_ns for each in candidates], dtype=np.uint64)
    return list(best(scores, used, lambda index: candidates[index].path))


def test_what_is_related_is_resolved_and_the_rest_left_alone_as_if_all_were_resolved() -> None:
    chance = random.Random(7)
    grouping = Grouping("leaf")
    for _ in range(200):
        paths = {"/" + "/".join(chance.choices("abc-", k=chance.randint(1, 4))) for _ in range(12)}
        observed = interval({path: chance.randint(0, 3) for path in sorted(paths)})
        globs = chance.choice([((), ()), (("/a*",), ()), ((), ("/b*",)), (("/*c",), ("/a*",))])
        found = Units(observed, grouping)
        chosen, dropped = choose(found, [], *globs)
        everything = [found.unit(each) for each in range(len(found))]
        resolved, dropped_of_all = select(everything, *globs)
        assert {chosen.path(each): chosen.cpu_ns[each] for each in range(len(chosen))} == {
            each.path: each.cpu_ns for each in resolved
        }
        assert sorted(dropped) == sorted(dropped_of_all)
        for each in range(len(chosen)):
            assert chosen.unit(each).path == chosen.path(each)


def test_a_grouping_forgets_the_dead() -> None:
    grouping = Grouping("leaf")
    for number in range(20):
        grouping.numbers([f"/{number}-{each}" for each in range(1000)])
    assert len(grouping.identities) <= 15_000
    first, *others = grouping.numbers(["/", "/new", "/new"])
    assert first == -1
    assert len(set(others)) == 1


def test_ties_are_broken_by_cpu_then_by_path_whatever_the_order_given() -> None:
    candidates = [unit("/c", 2), unit("/b", 2), unit("/a", 2), unit("/d", 3), unit("/e", 9)]
    scores = {"/a": 1.0, "/b": 1.0, "/c": 1.0, "/d": 1.0, "/e": None}
    for seed in range(20):
        random.Random(seed).shuffle(candidates)
        order = best_of(candidates, [scores[each.path] for each in candidates])
        assert [candidates[each].path for each in order] == ["/d", "/a", "/b", "/c", "/e"]


def test_a_negative_score_is_below_zero_and_above_not_measured() -> None:
    candidates = [unit("/a"), unit("/b"), unit("/c")]
    order = best_of(candidates, [None, -1.0, 0.0])
    assert [candidates[each].path for each in order] == ["/c", "/b", "/a"]


def test_idle_units_are_those_that_did_not_run_each_once() -> None:
    paths = ["/", "/a", "/b", f"/docker/{A}", f"/docker/{A}/x"]
    busy = Units(interval({"/a": 1}), Grouping("container"))
    found = idle_units(busy, paths, "container")
    assert sorted((each.path, each.cpu_ns, each.members) for each in found) == [
        ("/b", 0, []),
        (f"/docker/{A}", 0, []),
    ]


@pytest.mark.parametrize("limit", [0, -1, -(2**70), MAX_LIMIT + 1, 2**70])
def test_a_limit_that_makes_no_sense_is_refused(limit: int) -> None:
    with pytest.raises(BadRequest, match=f"--limit {limit}.*from 1 to {MAX_LIMIT}"):
        check_recipe(Recipe(limit=limit))


def test_recipes_are_checked_before_anything_is_measured() -> None:
    assert check_recipe(Recipe()).text == "cpu"
    for bad in (Recipe(level="pod"), Recipe(score="nope")):
        with pytest.raises(BadRequest):
            check_recipe(bad)


def source_of(observed: Interval, **seen: Seen) -> FakeSource:
    """A source that knows the interval's paths, as alive."""
    ids = [int(each) for each in observed.ids]
    paths = dict(zip(ids, observed.paths, strict=True))
    return FakeSource(paths=paths, seen={f"/{name}": each for name, each in seen.items()})


def ranked(used: dict[str, int], recipe: Recipe, **seen: Seen) -> Ranking:
    observed = interval(used)
    return ranking(observed, recipe, source_of(observed, **seen))


def paths(result: Ranking) -> list[str]:
    return [each.path for each in result.rows]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, MAX_LIMIT])
def test_exactly_n_are_delivered_if_there_are_n(limit: int) -> None:
    result = ranked({"/a": 1, "/b": 2, "/c": 3}, Recipe(limit=limit))
    assert paths(result) == ["/c", "/b", "/a"][:limit]


def test_filters_do_not_eat_into_the_n() -> None:
    used = {f"/u{number}": number for number in range(1, 9)}
    result = ranked(used, Recipe(limit=3, exclude=("/u8", "u6")))
    assert paths(result) == ["/u7", "/u5", "/u4"]


def test_a_unit_that_a_filter_names_is_delivered_though_its_parent_is_hotter() -> None:
    used = {"/a": 9, "/a/b": 5, "/c": 1}
    assert paths(ranked(used, Recipe(level="leaf", include=("/a/b",)))) == ["/a/b"]
    assert paths(ranked(used, Recipe(level="leaf", exclude=("/a",)))) == ["/a/b", "/c"]


def test_shares_and_the_account_of_a_ranking() -> None:
    used = {"/": 100 * MS, "/a": 500 * MS, "/b": 0, "/c": 200 * MS}
    result = ranked(used, Recipe())
    first = result.rows[0]
    assert (first.path, first.cpu_ns, first.alive) == ("/a", 500 * MS, True)
    assert first.cpu_percent == pytest.approx(50.0)
    assert first.host_percent == pytest.approx(25.0)
    assert first.score == first.cpu_percent
    assert (first.memory_bytes, first.switches, first.cpu_ns_by_cpu) == (None, None, None)
    assert (result.root_ns, result.units_ns, result.units) == (100 * MS, 700 * MS, 2)
    observed = result.interval
    rest = observed.idle_ns + observed.unattributed_ns
    assert result.root_ns + result.units_ns + rest == observed.total_ns


def test_for_perf_what_cannot_be_opened_gives_its_place_to_the_next() -> None:
    observed = interval({"/gone": 9, "/a,b": 8, "unknown:3": 7, "/ok": 6, "/fine": 5, "/more": 1})
    source = source_of(observed, gone=Seen())
    result = ranking(observed, Recipe(limit=2), source, for_perf=True)
    assert paths(result) == ["/ok", "/fine"]
    assert [each.perf_cgroup for each in result.rows] == ["ok", "fine"]
    reasons = dict(result.dropped)
    assert set(reasons) == {"/gone", "/a,b", "unknown:3"}
    assert "gone" in reasons["/gone"]
    assert "comma" in reasons["/a,b"]
    assert "not known" in reasons["unknown:3"]


def test_what_was_made_again_under_the_same_path_is_not_the_one_that_was_measured() -> None:
    result = ranked({"/a": 9}, Recipe(), a=Seen(id=4711))
    assert (result.rows[0].alive, result.rows[0].id) == (False, 1)


def test_without_leaves_out_what_vanished() -> None:
    observed = interval({"/a": 3, "/b": 2, "/c": 1})
    source = source_of(observed)
    result = ranking(observed, Recipe(limit=2), source, True, without=frozenset({"/a"}))
    assert paths(result) == ["/b", "/c"]


def test_a_score_over_memory_ranks_idle_units_too_and_the_unmeasured_last() -> None:
    mib = 1 << 20
    result = ranked(
        {"/a": 9 * MS, "/b": 1 * MS, "/c": 0},
        Recipe(score="memory"),
        a=Seen(1, 5 * mib),
        b=Seen(2, None),
        c=Seen(3, 7 * mib),
    )
    assert [(row.path, row.score) for row in result.rows] == [("/c", 7), ("/a", 5), ("/b", None)]


def test_cumulative_is_lifetime_seconds_plus_mebibytes() -> None:
    result = ranked({"/a": 1}, Recipe(score="cumulative"), a=Seen(1, 3 << 20, None, 4 * SECOND))
    assert result.rows[0].score == pytest.approx(7.0)


def test_a_score_that_is_measured_for_no_unit_says_so() -> None:
    with pytest.raises(NothingFound, match="needs memory"):
        ranked({"/a": 1}, Recipe(score="memory"))


def test_a_score_that_divides_by_zero_names_the_unit() -> None:
    with pytest.raises(BadRequest, match="'/a'"):
        ranked({"/a": 1}, Recipe(score="cpu / (cpu - cpu)"))


@pytest.mark.parametrize(
    ("used", "recipe", "said"),
    [
        ({"/": 9}, Recipe(), "no cgroup used any CPU"),
        ({"/a": 9}, Recipe(include=("/b",)), "none of the 1 units"),
        ({"/a": 9}, Recipe(exclude=("*",)), "none of the 1 units"),
    ],
)
def test_an_empty_ranking_says_why(used: dict[str, int], recipe: Recipe, said: str) -> None:
    with pytest.raises(NothingFound, match=said):
        require_rows(ranked(used, recipe), recipe)


def test_a_ranking_of_nothing_perf_can_take_says_why() -> None:
    observed = interval({"/a,b": 9})
    result = ranking(observed, Recipe(), source_of(observed), for_perf=True)
    with pytest.raises(NothingFound, match="comma"):
        require_rows(result, Recipe())


def test_a_recording_is_observed_from_its_first_snapshot_to_its_last() -> None:
    source = FakeSource(
        [snapshot({2: 5}, at_s=0), snapshot({2: 6}, at_s=1), snapshot({2: 90}, at_s=3)],
        {2: "/a"},
    )
    observed = observe(source, window_s=99)
    assert (observed.window_s, observed.cpu_ns.tolist()) == (3.0, [85])


def test_a_live_source_is_observed_for_the_window_with_imports_meanwhile() -> None:
    source = FakeSource([snapshot({2: 5}), snapshot({2: 9})], {2: "/a"}, kind="files")
    called: list[str] = []
    observed = observe(source, 0.001, meanwhile=lambda: called.append("imports"))
    assert (observed.cpu_ns.tolist(), called) == ([4], ["imports"])


def test_time_on_each_cpu_and_switches_are_summed_over_a_units_members() -> None:
    names = {2: f"/docker/{A}", 3: f"/docker/{A}/x"}
    after = snapshot({2: 5, 3: 7}, switches={2: 1, 3: 2}, by_cpu={2: [5, 0], 3: [3, 4]})
    before = snapshot({2: 0, 3: 0}, switches={2: 0, 3: 0}, by_cpu={2: [0, 0], 3: [0, 0]})
    source = FakeSource(paths=names)
    result = ranking(difference(before, after, source), Recipe(), source)
    (row,) = result.rows
    assert (row.cpu_ns, row.switches, row.cpu_ns_by_cpu) == (12, 3, (8, 4))


def test_ranking_many_at_once_is_the_same_as_looking_at_every_unit() -> None:
    """What is alone takes a shorter way; the result may not show it."""
    chance = random.Random(7)
    kept_for_long = Grouping("leaf")
    for _ in range(300):
        paths = {"/" + "/".join(chance.choices("ab-", k=chance.randint(1, 4))) for _ in range(7)}
        observed = interval({path: chance.randint(0, 3) for path in sorted(paths)})
        include = chance.choice([(), ("/a*",), ("*/b",)])
        exclude = chance.choice([(), ("/b",), ("/a/*",)])
        used = Units(observed, kept_for_long)
        chosen, dropped = choose(used, (), include, exclude)
        everything = [used.unit(each) for each in range(len(used))]
        expected, expected_dropped = select(everything, include, exclude)
        found = [chosen.unit(each) for each in range(len(chosen))]
        assert sorted((each.path, each.cpu_ns, sorted(each.members)) for each in found) == sorted(
            (each.path, each.cpu_ns, sorted(each.members)) for each in expected
        )
        assert sorted(dropped) == sorted(expected_dropped)
