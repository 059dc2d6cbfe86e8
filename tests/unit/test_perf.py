"""perf's arguments: every cgroup is paired with its own events, and every event is named."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from cgbpf.errors import BadRequest, PerfUnusable
from cgbpf.perf import events as module
from cgbpf.perf.argv import (
    cgroup_arguments,
    check_event,
    event_name,
    named_event,
    record_arguments,
)
from cgbpf.perf.names import perf_name, refusal

ID = "0123456789abcdef" * 4


def pairs(arguments: list[str]) -> list[tuple[str, str | None]]:
    """(event, cgroup) as perf pairs them: the n-th name of all -G with the n-th -e."""
    events = [arguments[at + 1] for at, word in enumerate(arguments) if word == "-e"]
    names: list[str | None] = []
    for at, word in enumerate(arguments):
        if word == "-G":
            names += arguments[at + 1].split(",")
    return list(zip(events, names + [None] * (len(events) - len(names)), strict=True))


@pytest.mark.parametrize("event_count", [1, 2, 5])
@pytest.mark.parametrize("cgroup_count", [1, 2, 50, 600])
def test_every_cgroup_gets_every_event_and_no_event_is_left_alone(
    event_count: int, cgroup_count: int
) -> None:
    events = [f"event{number}" for number in range(event_count)]
    cgroups = [f"docker/{number}" for number in range(cgroup_count)]
    made = pairs(cgroup_arguments(events, cgroups))
    assert len(made) == event_count * cgroup_count
    found = {(named.partition("/")[0], cgroup) for named, cgroup in made}
    assert found == {(event, cgroup) for event in events for cgroup in cgroups}
    assert len({named for named, _ in made}) == len(made), "names are unique"


def test_a_group_option_never_comes_before_its_event() -> None:
    arguments = cgroup_arguments(["a", "b"], ["x", "y"])
    for at, word in enumerate(arguments):
        if word == "-G":
            events, names = arguments[:at].count("-e"), 0
            names = sum(len(each.split(",")) for each in arguments[at + 1 : at + 2])
            assert events >= names


def test_one_event_and_one_cgroup() -> None:
    assert cgroup_arguments(["cpu-clock"], ["docker/ab"]) == [
        "-e", "cpu-clock/name=cg0:ab:cpu-clock/", "-G", "docker/ab",
    ]  # fmt: skip


def test_no_cgroup_gives_no_event_which_would_record_the_whole_system() -> None:
    assert cgroup_arguments(["cpu-clock"], []) == []


@pytest.mark.parametrize(
    ("event", "named"),
    [
        ("cycles", "cycles/name=N/"),
        ("cycles:u", "cycles/name=N/u"),
        ("cycles:ppp", "cycles/name=N/ppp"),
        ("cpu-clock", "cpu-clock/name=N/"),
        ("L1-dcache-load-misses:k", "L1-dcache-load-misses/name=N/k"),
        ("cpu/event=0x3c,umask=0x0/", "cpu/event=0x3c,umask=0x0,name=N/"),
        ("cpu/event=0x3c/pp", "cpu/event=0x3c,name=N/pp"),
        ("cpu//", "cpu/name=N/"),
        ("intel_pt//u", "intel_pt/name=N/u"),
    ],
)
def test_an_event_is_named_in_perfs_own_syntax(event: str, named: str) -> None:
    assert named_event(event, "N") == named
    check_event(event)


@pytest.mark.parametrize(
    "event",
    ["", " ", "a,b", "{a,b}", "a b", "cpu/x", "cpu/x/y/", "a\nb", "cycles,", "cpu/x/ -e y"],
)
def test_what_is_not_one_event_is_refused(event: str) -> None:
    with pytest.raises(BadRequest, match="--event"):
        check_event(event)


@pytest.mark.parametrize(
    ("cgroup", "label"),
    [
        ("docker/web", "web"),
        (f"docker/{ID}", ID[:12]),
        (f"system.slice/docker-{ID}.scope", ID[:12]),
        (f"x/cri-containerd-{ID}.scope", ID[:12]),
        ("a/b c'd/$(x)\n,/=", "_"),
        ("a/grüße", "gr_e"),
        ("a/\udcff", "_"),
    ],
)
def test_an_events_name_tells_its_cgroup_in_characters_perf_takes(cgroup: str, label: str) -> None:
    assert event_name(3, cgroup, "cycles:u") == f"cg3:{label}:cycles_u"


def test_names_differ_where_only_the_index_or_the_event_does() -> None:
    names = {event_name(at, "a/same", event) for at in (0, 1) for event in ("cycles", "cpu-clock")}
    assert len(names) == 4


def test_a_recording_starts_disabled_names_its_rate_and_waits_for_control() -> None:
    arguments = record_arguments("/usr/bin/perf", "o/perf.data", 99, ["e"], ["a", "b"], (7, 8))
    assert arguments[:2] == ["/usr/bin/perf", "record"]
    for option, value in (
        ("-o", "o/perf.data"),
        ("-F", "99"),
        ("-D", "-1"),
        ("--control", "fd:7,8"),
    ):
        assert arguments[arguments.index(option) + 1] == value
    assert {"-a", "-g"} <= set(arguments)
    assert arguments[-6:] == cgroup_arguments(["e"], ["a", "b"])[-6:]
    assert "--" not in arguments


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/docker/ab", "docker/ab"),
        ("/a b", "a b"),
        ("/-a", "-a"),
        ("/\udcff", "\udcff"),
        ("/", None),
        ("unknown:5", None),
        ("/a,b", None),
        ("/x,y/z", None),
        ("/" + "a" * 5000, None),
        ("/" + "\U0001f525" * 1000, None),
    ],
)
def test_names_for_perf_and_refusals_go_together(path: str, name: str | None) -> None:
    assert perf_name(path) == name
    assert (refusal(path) is None) is (name is not None)


@pytest.fixture
def perf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A perf of the test's own, first in PATH; what is cached of perf is forgotten."""
    caches = (module.version, module.default_event)
    for cached in caches:
        cached.cache_clear()
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    yield tmp_path / "perf"
    for cached in caches:
        cached.cache_clear()


def script(file: Path, text: str) -> None:
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)


def test_without_cycles_cpu_clock_is_taken(perf: Path) -> None:
    script(
        perf, 'case "$*" in *cycles*) echo "<not supported>;;x" >&2;; *) echo "12;;x" >&2;; esac'
    )
    assert module.default_event() == "cpu-clock"


def test_cycles_are_taken_where_they_count_with_a_name(perf: Path) -> None:
    script(perf, 'case "$*" in *name=*) echo "12.5;;x" >&2;; *) exit 1;; esac')
    assert module.default_event() == "cycles"


def test_no_event_at_all_is_a_clear_error(perf: Path) -> None:
    script(perf, "echo 'event syntax error' >&2; exit 129")
    with pytest.raises(PerfUnusable, match="neither cycles nor cpu-clock"):
        module.default_event()
    with pytest.raises(PerfUnusable, match="event syntax error"):
        module.chosen_events(("cycles",))


def test_a_perf_without_cgroups_is_told_by_its_options_not_its_version(perf: Path) -> None:
    script(perf, 'case "$1" in --version) echo perf version 9.9;; *) echo " -a, --all-cpus";; esac')
    with pytest.raises(PerfUnusable, match=r"perf 9\.9 can't filter by cgroup"):
        module.require_cgroups()
    script(perf, 'echo "    -G, --cgroup <name>" >&2; exit 129')
    module.require_cgroups()


def test_a_missing_perf_says_what_to_install(
    perf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PerfUnusable, match="not installed; apt install linux-perf"):
        module.find_perf()


def test_a_perf_that_tells_no_version_is_unusable(perf: Path) -> None:
    script(perf, "exit 0")
    with pytest.raises(PerfUnusable, match="version"):
        module.version()


def test_requested_events_are_tried_and_kept_in_order(perf: Path) -> None:
    script(perf, 'echo "1;;x" >&2')
    assert module.chosen_events(("b", "a:u")) == ["b", "a:u"]


@pytest.mark.parametrize("pair", [("cycles", "cycles"), ("cpu-clock:u", "cpu-clock_u")])
def test_events_whose_samples_could_not_be_told_apart_are_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(BadRequest, match="given twice"):
        module.chosen_events(pair)
