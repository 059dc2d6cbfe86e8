"""Runs that are saved, and replayed; and files that are not such runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cgbpf.errors import InputDamaged, OutputRefused
from cgbpf.measure import interval
from cgbpf.model import Probe, Recipe, Seen, Snapshot
from cgbpf.pipeline import observe, ranking
from cgbpf.sources.recorded import RecordedSource
from cgbpf.sources.saving import Saver
from tests.support.build import NOWHERE, FakeSource, snapshot

BIG = 2**63 + 1
HOSTILE = '/a/b\n"\t\x1b[31m\u202e\U0001f525,\udcff'
PATHS = {1: "/", 2: HOSTILE, 3: "/new"}
PROBE = Probe(lost=1, lost_ns=2, map_used=3, map_max=4, paths_lost=5, offline_cpus=(1, 3))


def first() -> Snapshot:
    return snapshot(
        {1: BIG, 2: 0}, switches={1: 1, 2: BIG}, by_cpu={1: [BIG, 0], 2: [0, 0]}, probe=PROBE
    )


def second() -> Snapshot:
    return snapshot({2: 7, 3: 9}, at_s=2, covered_ns=BIG, idle_ns=5, inclusive=True)


def saved(path: Path) -> Path:
    source = FakeSource([first(), second()], PATHS, seen={HOSTILE: Seen(2, 10, 9, 8)})
    saver = Saver(source, path)
    saver.snapshot()
    saver.snapshot()
    saver.look(HOSTILE)
    saver.close()
    assert source.closed == 1
    return path


def assert_same(one: Snapshot, other: Snapshot) -> None:
    for name, value in vars(one).items():
        if isinstance(value, np.ndarray):
            assert getattr(other, name).dtype == value.dtype
            assert getattr(other, name).tolist() == value.tolist()
        else:
            assert getattr(other, name) == value


def test_a_run_comes_back_as_it_was(tmp_path: Path) -> None:
    source = RecordedSource(saved(tmp_path / "run"))
    assert (source.kind, source.hierarchy, source.fallback_reason) == ("recorded", NOWHERE, None)
    assert_same(first(), source.snapshot())
    assert source.paths([1, 2, 3]) == ["/", HOSTILE, None]
    assert_same(second(), source.snapshot())
    assert source.paths([3, 99]) == ["/new", None]
    with pytest.raises(EOFError):
        source.snapshot()
    assert source.look(HOSTILE) == Seen(2, 10, 9, 8)
    assert source.look("/new") == Seen()
    assert list(source.all_paths()) == [HOSTILE]
    source.close()
    source.close()


def test_the_file_is_json_lines_for_every_reader(tmp_path: Path) -> None:
    lines = saved(tmp_path / "run").read_bytes().decode("ascii").splitlines()
    objects = [json.loads(line) for line in lines]
    assert [each.get("format") for each in objects] == ["cgbpf-run", None, None, None]
    assert objects[0]["schema"] == 1
    assert objects[0]["source"] == "recorded"


def test_the_reason_for_a_fallback_is_kept(tmp_path: Path) -> None:
    source = FakeSource([first()])
    source.fallback_reason = "no BPF here"
    Saver(source, tmp_path / "run").close()
    assert RecordedSource(tmp_path / "run").fallback_reason == "no BPF here"


def test_a_saver_passes_on_all_that_its_source_gives(tmp_path: Path) -> None:
    source = FakeSource([first()], PATHS)
    saver = Saver(source, tmp_path / "run")
    assert (saver.kind, saver.hierarchy) == (source.kind, source.hierarchy)
    assert_same(first(), saver.snapshot())
    assert saver.paths([2, 9]) == [HOSTILE, None]
    assert list(saver.all_paths()) == list(source.all_paths())
    saver.close()
    saver.close()


def test_a_path_that_was_learnt_late_is_saved_all_the_same(tmp_path: Path) -> None:
    known: dict[int, str] = {}
    source = FakeSource([snapshot({2: 0}), snapshot({2: 5})], known)
    saver = Saver(source, tmp_path / "run")
    before = saver.snapshot()
    known[2] = "/late"
    live = interval(before, saver.snapshot(), saver)
    saver.close()
    replayed = observe(RecordedSource(tmp_path / "run"), 1)
    assert live.paths == ["/late"]
    assert replayed.paths == live.paths


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "run"
    file.write_text("precious")
    with pytest.raises(OutputRefused, match="exists"):
        Saver(FakeSource(), file)
    assert file.read_text() == "precious"


def test_a_file_that_cannot_be_made_is_an_error_of_the_output(tmp_path: Path) -> None:
    with pytest.raises(OutputRefused, match="No such file"):
        Saver(FakeSource(), tmp_path / "nowhere" / "run")


def replay(file: Path) -> None:
    """All that a command does with a run."""
    source = RecordedSource(file)
    try:
        ranking(observe(source, 1), Recipe(), source)
    finally:
        source.close()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b"precious\n",
        b"\x7fELF\x02\x01\x01\x00\xff\xfe\n",
        b"\xff" * 5000,
        b"\x00" * 5000,
        b'{"format": "other", "schema": 1}\n',
        b'{"format": "cgbpf-run", "schema": 2}\n',
        b'{"format": "cgbpf-run", "schema": 1}\n',
        b'{"format": "cgbpf-run", "schema": 1, "fallback_reason": null, "hierarchy": 3}\n',
        b"[" * 100_000 + b"\n",
    ],
    ids=lambda text: repr(text[:50]),
)
def test_what_is_no_run_is_refused_by_name(text: bytes, tmp_path: Path) -> None:
    file = tmp_path / "run"
    file.write_bytes(text)
    with pytest.raises(InputDamaged, match="run"):
        replay(file)


@pytest.mark.parametrize("name", ["missing", "."])
def test_what_cannot_be_read_is_refused_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputDamaged, match=str(tmp_path)):
        RecordedSource(tmp_path / name)


def test_a_run_without_any_snapshot_is_refused(tmp_path: Path) -> None:
    Saver(FakeSource(), tmp_path / "run").close()
    with pytest.raises(InputDamaged):
        replay(tmp_path / "run")


def test_a_last_line_that_is_cut_short_loses_only_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What a full disk or a kill -9 leaves; said, and no error."""
    file = saved(tmp_path / "run")
    whole = file.read_bytes()
    file.write_bytes(whole + whole.splitlines(keepends=True)[-1][:-30])
    source = RecordedSource(file)
    assert_same(first(), source.snapshot())
    source.snapshot()
    with pytest.raises(EOFError):
        source.snapshot()
    assert "cut short" in caplog.text


def test_damage_in_the_middle_is_refused_and_what_is_before_it_can_be_read(tmp_path: Path) -> None:
    file = saved(tmp_path / "run")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + lines[1] + lines[2][:-30] + b"\n" + lines[2])
    source = RecordedSource(file)
    assert_same(first(), source.snapshot())
    with pytest.raises(InputDamaged, match="not JSON"):
        source.snapshot()


MISSING = "(missing)"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ids", MISSING),
        ("at_ns", MISSING),
        ("paths", MISSING),
        ("probe", MISSING),
        ("ids", "precious"),
        ("ids", [1]),
        ("ids", [2, 1]),
        ("ids", [1, 1]),
        ("ids", None),
        ("ids", [[1], [2]]),
        ("ids", [1, -2]),
        ("ids", [1, 2**64]),
        ("cpu_ns", [1.5, 2.5]),
        ("cpu_ns", [1, 2, 3]),
        ("cpu_ns", None),
        ("cpu_ns_by_cpu", [[1, 2]]),
        ("switches", [1]),
        ("at_ns", "soon"),
        ("at_ns", None),
        ("covered_ns", []),
        ("idle_ns", "much"),
        ("cpus", "two"),
        ("paths", []),
        ("paths", {"x": "/a"}),
        ("paths", {"1": 5, "2": 5}),
        ("probe", {"lost": 1, "surprise": 2}),
        ("probe", []),
        ("probe", {"offline_cpus": None}),
    ],
    ids=repr,
)
def test_a_damaged_snapshot_is_refused_and_never_a_fault(
    field: str, value: object, tmp_path: Path
) -> None:
    file = saved(tmp_path / "run")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[1][field] = value
    if value == MISSING:
        del lines[1][field]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(InputDamaged, match="run"):
        replay(file)


@pytest.mark.parametrize(
    "seen", [None, 5, "abcd", [1, 2, 3, 4, 5], [1, "2", 3, 4], [1.5, None, None, None]]
)
def test_damage_in_what_was_seen_of_a_cgroup_is_refused(seen: object, tmp_path: Path) -> None:
    file = saved(tmp_path / "run")
    with file.open("a") as more:
        more.write(json.dumps({"look": "/a", "seen": seen}) + "\n")
    with pytest.raises(InputDamaged, match="was seen"):
        replay(file)
