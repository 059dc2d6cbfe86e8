"""The main job: of three real containers, the hot one is found and recorded."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests.e2e.conftest import Trio
from tests.e2e.reading import manifest, pids, samples
from tests.support.command import cgbpf

pytestmark = pytest.mark.e2e

# Ranked against everything on this host, but for what other tests make hot.
NO_TESTS = ("--exclude", "/cgbpf-*")


def test_record_takes_exactly_the_hot_container(trio: Trio, tmp_path: Path) -> None:
    folder = tmp_path / "profile"

    done = cgbpf(
        "record", "--limit", "1", "--window", "1", "--duration", "2", "--output", str(folder),
        *NO_TESTS,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    told = manifest(folder)
    (chosen,) = told["cgroups"]
    assert chosen["path"].endswith(trio.hot.id)
    assert chosen["samples"] > 0
    found = samples(folder / "perf.data")
    assert pids(found) == trio.hot.pids()
    assert {each.event for each in found} == {chosen["event"]}
    assert found.total() == chosen["samples"]


def test_record_says_what_it_did(trio: Trio, tmp_path: Path) -> None:
    folder = tmp_path / "profile"

    done = cgbpf("record", "--limit", "1", "--duration", "0.5", "--output", str(folder), *NO_TESTS)

    assert done.returncode == 0, done.stderr
    told = manifest(folder)
    assert (told["schema"], told["source"], told["mode"]) == (1, "bpf", "cgroup")
    assert told["dropped"] == []
    assert told["perf"]["exit"] == 0
    assert told["perf"]["version"]
    assert told["cgroups"][0]["perf_cgroup"] in told["perf"]["argv"]
    assert trio.hot.id[:12] in done.stdout
    assert str(folder / "perf.data") in done.stdout
    assert {each.name for each in folder.iterdir()} == {"perf.data", "manifest.json"}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_each_event_of_each_container_is_its_own(trio: Trio, tmp_path: Path) -> None:
    """Two events x two cgroups: the pairing that perf's obvious form gets wrong."""
    folder = tmp_path / "profile"

    done = cgbpf(
        "record", "--limit", "2", "--duration", "2", "--output", str(folder),
        "--event", "cpu-clock", "--event", "task-clock", *NO_TESTS,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    hot, warm = manifest(folder)["cgroups"]
    assert (hot["path"], warm["path"]) == (trio.hot.path, trio.warm.path)
    found = samples(folder / "perf.data")
    assert len(hot["samples_by_event"]) == len(warm["samples_by_event"]) == 2
    for event in hot["samples_by_event"]:
        assert pids(found, event) == trio.hot.pids()
    for event in warm["samples_by_event"]:
        # Its shell lives on, what it starts to sleep does not: some are unknown.
        assert pids(found, event) & trio.warm.pids()
        assert not pids(found, event) & (trio.hot.pids() | trio.idle.pids())
    assert {each.event for each in found} == {*hot["samples_by_event"], *warm["samples_by_event"]}


def test_rank_names_the_hot_container(trio: Trio) -> None:
    done = cgbpf("rank", "--format", "json", *NO_TESTS)

    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["cgroups"]
    top = rows[0]
    assert (top["kind"], top["name"]) == ("docker", trio.hot.id[:12])
    assert top["path"] == trio.hot.path
    assert top["perf_cgroup"] == trio.hot.path[1:]
    assert top["alive"]
    order = [row["path"] for row in rows]
    assert order.index(trio.warm.path) < order.index(trio.idle.path)
