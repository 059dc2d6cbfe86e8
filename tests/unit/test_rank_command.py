"""`cgbpf rank` on saved runs: no root, no kernel, the whole way to its output."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from cgbpf import __version__
from cgbpf.cli import COMMANDS, main
from cgbpf.perf import events
from cgbpf.sources.saving import Saver
from tests.support.build import SECOND, FakeSource, snapshot
from tests.support.command import cgbpf

A = "a" * 64
HOSTILE = "/evil\x1b[31m \u202e'\U0001f525\udcff"
PATHS = {
    1: "/",
    2: f"/docker/{A}",
    3: f"/docker/{A}/init",
    4: "/system.slice/web.service",
    5: HOSTILE,
    6: "/a,b",
    7: "/gone",
    8: "/idle",
}
MS = {1: 50, 2: 300, 3: 100, 4: 200, 5: 100, 6: 90, 7: 80, 8: 0}


class Said(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """The command line in this process, as the console script calls it."""

    def call(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["cgbpf", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return Said(ended.value.code, captured.out, captured.err)

    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)
    return call


def save(file: Path, used_ms: dict[int, int], live: Sequence[int] = ()) -> str:
    """A saved run of one second on two CPUs. Those in `live` were looked at, and there."""
    after = snapshot(
        {each: ms * 1_000_000 for each, ms in used_ms.items()},
        at_s=1,
        switches=dict.fromkeys(used_ms, 10),
        by_cpu={each: (ms * 1_000_000, 0) for each, ms in used_ms.items()},
        covered_ns=2 * SECOND,
        idle_ns=SECOND,
    )
    before = snapshot(
        dict.fromkeys(used_ms, 0),
        switches=dict.fromkeys(used_ms, 0),
        by_cpu=dict.fromkeys(used_ms, (0, 0)),
    )
    saver = Saver(FakeSource([before, after], PATHS, kind="bpf"), file)
    saver.snapshot()
    saver.snapshot()
    for each in live:
        saver.look(PATHS[each])
    saver.close()
    return str(file)


@pytest.fixture
def saved(tmp_path: Path) -> str:
    return save(tmp_path / "run", MS, live=(2, 4, 5, 6, 8))


def test_json_is_the_contract(saved: str, run: Run) -> None:
    said = run("rank", "--replay", saved, "--format", "json")
    assert (said.code, said.err) == (0, "")
    found = json.loads(said.out)
    assert {"schema", "source", "hierarchy", "window_s", "fallback_reason", "host", "cgroups"} <= (
        set(found)
    )
    assert (found["schema"], found["source"], found["window_s"]) == (1, "recorded", 1.0)
    assert found["hierarchy"] == {"version": 2, "mount": "/nowhere"}
    first = found["cgroups"][0]
    assert first["path"] == f"/docker/{A}"
    assert (first["name"], first["kind"], first["alive"]) == (A[:12], "docker", True)
    assert (first["cpu_ns"], first["switches"]) == (400_000_000, 20)
    assert first["cpu_percent"] == pytest.approx(40.0)
    assert first["host_percent"] == pytest.approx(20.0)
    assert first["perf_cgroup"] == f"docker/{A}"
    assert first["memory_bytes"] is None
    cpu = [each["cpu_ns"] for each in found["cgroups"]]
    assert cpu == sorted(cpu, reverse=True)
    assert len(cpu) == 5
    host = found["host"]
    assert host["root_ns"] == 50_000_000
    assert host["unattributed_ns"] == 2 * SECOND - SECOND - sum(MS.values()) * 1_000_000


def test_the_time_on_each_cpu_is_there_if_asked(saved: str, run: Run) -> None:
    said = run("rank", "--replay", saved, "--format", "json", "--per-cpu")
    assert json.loads(said.out)["cgroups"][0]["cpu_ns_by_cpu"] == [400_000_000, 0]
    assert "cpu0_ns" in run("rank", "--replay", saved, "--format", "csv", "--per-cpu").out
    assert "CPU0 ms" in run("rank", "--replay", saved, "--per-cpu").out


def test_a_hostile_name_goes_through_every_format(saved: str, run: Run) -> None:
    escaped = "/evil\\x1b[31m \\u202e'\U0001f525\\xff"
    found = json.loads(run("rank", "--replay", saved, "--format", "json").out)
    assert HOSTILE.replace("\udcff", "\\xff") in [each["path"] for each in found["cgroups"]]
    records = csv.DictReader(io.StringIO(run("rank", "--replay", saved, "--format", "csv").out))
    assert escaped in [each["path"] for each in records]
    table = run("rank", "--replay", saved).out
    assert escaped in table
    assert "\x1b" not in table


def test_csv_has_a_header_and_a_row_a_unit(saved: str, run: Run) -> None:
    said = run("rank", "--replay", saved, "--format", "csv", "--limit", "2")
    records = list(csv.DictReader(io.StringIO(said.out)))
    assert [each["path"] for each in records] == [f"/docker/{A}", "/system.slice/web.service"]
    assert records[0]["memory_bytes"] == "NA"


def test_the_table_has_the_hottest_first_and_closes_the_account(saved: str, run: Run) -> None:
    lines = run("rank", "--replay", saved, "--limit", "2").out.splitlines()
    assert lines[0].split() == ["NAME", "KIND", "CPU%", "HOST%", "SWITCHES", "MEM", "MiB", "CGROUP"]
    assert lines[2].split()[:5] == [A[:12], "docker", "40.0", "20.0", "20"]
    assert lines[3].startswith("web.service")
    assert lines[-1].startswith("2 CPUs x 1.00 s")


def test_twenty_rows_unless_told_otherwise(tmp_path: Path, run: Run) -> None:
    PATHS.update({each: f"/many/{each}" for each in range(100, 130)})
    file = save(tmp_path / "many", {each: each for each in range(100, 130)})
    said = run("rank", "--replay", file, "--format", "json", "--level", "leaf")
    assert len(json.loads(said.out)["cgroups"]) == 20
    said = run("rank", "--replay", file, "--format", "json", "--level", "leaf", "--limit", "25")
    assert len(json.loads(said.out)["cgroups"]) == 25


def test_perf_arguments_for_what_perf_can_open(
    saved: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "default_event", lambda: "cpu-clock")
    said = run("rank", "--replay", saved, "--format", "perf", "--limit", "2")
    assert (said.code, said.err) == (0, "")
    assert said.out == (
        f"-e cpu-clock/name=cg0:{A[:12]}:cpu-clock/ -G docker/{A} "
        "-e cpu-clock/name=cg1:web.service:cpu-clock/ -G system.slice/web.service\n"
    )


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_perf_arguments_keep_the_bytes_of_a_name(saved: str, errors: str, tmp_path: Path) -> None:
    perf = tmp_path / "perf"
    perf.write_text("#!/bin/sh\necho '1;;x' >&2\n")
    perf.chmod(0o755)
    done = cgbpf(
        "rank", "--replay", saved, "--format", "perf", "--include", "/evil*",
        env={
            "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
            "PYTHONIOENCODING": f"utf-8:{errors}",  # strict: as in any UTF-8 locale
        },
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert shlex.split(done.stdout)[-2:] == ["-G", HOSTILE[1:]]


def test_names_go_to_a_pipe_of_any_encoding(saved: str) -> None:
    for form in ("table", "csv", "json"):
        done = cgbpf(
            "rank", "--replay", saved, "--format", form, env={"PYTHONIOENCODING": "latin-1:strict"}
        )
        assert (done.returncode, done.stderr) == (0, ""), form
        assert "web.service" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--limit", "0"], 2, "--limit 0 makes no sense"),
        (["--limit", "-3"], 2, "--limit -3 makes no sense"),
        (["--limit", str(2**70)], 2, "--limit"),
        (["--limit", "many"], 2, "--limit"),
        (["--level", "pod"], 2, "unknown --level"),
        (["--score", "speed"], 2, "unknown column: speed"),
        (["--score", "cpu / 0"], 2, "divides by zero"),
        (["--score", "cpu.real"], 2, "--score"),
        (["--window", "0"], 2, "--window"),
        (["--window", "-1"], 2, "--window"),
        (["--window", "nan"], 2, "--window"),
        (["--window", "inf"], 2, "--window"),
        (["--window", "1e300"], 2, "--window"),
        (["--format", "xml"], 2, "--format"),
        (["--source", "bpf"], 2, "--replay goes with neither"),
        (["--source", "magic"], 2, "--source"),
        (["--save", "x"], 2, "--replay goes with neither"),
        (["--nonsense"], 2, "--nonsense"),
        (["surplus"], 2, "surplus"),
        (["--include", "/nothing"], 3, "match the filters"),
    ],
)
def test_a_bad_request_is_one_line_and_its_exit_code(
    words: list[str], code: int, said: str, saved: str, run: Run
) -> None:
    result = run("rank", "--replay", saved, *words)
    assert result.code == code
    assert result.out == ""
    assert result.err.startswith("cgbpf: ")
    assert said in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"{}\n"])
def test_a_damaged_run_is_exit_code_9(text: bytes, tmp_path: Path, run: Run) -> None:
    (tmp_path / "run").write_bytes(text)
    result = run("rank", "--replay", str(tmp_path / "run"))
    assert (result.code, result.out, result.err.count("\n")) == (9, "", 1)


def test_an_empty_ranking_as_json_is_an_empty_list_and_exit_code_3(
    tmp_path: Path, run: Run
) -> None:
    file = save(tmp_path / "idle", {1: 5, 8: 0})
    result = run("rank", "--replay", file, "--format", "json")
    assert result.code == 3
    assert json.loads(result.out)["cgroups"] == []
    assert "no cgroup used any CPU" in result.err


def test_an_existing_file_is_not_saved_over(tmp_path: Path, run: Run) -> None:
    (tmp_path / "run").write_text("precious")
    result = run("rank", "--source", "files", "--window", "0.01", "--save", str(tmp_path / "run"))
    assert (result.code, result.out) == (8, "")
    assert (tmp_path / "run").read_text() == "precious"


def test_help_and_version(run: Run) -> None:
    said = run("--help")
    assert said.code == 0
    for command in COMMANDS:
        assert command in said.out
    assert "Example" in said.out
    assert run("--version").out == f"cgbpf {__version__}\n"
    said = run("rank", "--help")
    assert (said.code, said.err) == (0, "")
    assert "Examples:" in said.out
    assert "args=$(cgbpf rank --limit 3 --format perf) &&" in said.out


def test_no_command_shows_the_help_in_lines(run: Run) -> None:
    said = run()
    text = said.out + said.err
    assert "Usage: cgbpf" in text
    assert text.count("\n") > 5
    assert "\\x0a" not in text


def test_an_unknown_command_is_one_line(run: Run) -> None:
    said = run("rnak")
    assert (said.code, said.out) == (2, "")
    assert "rnak" in said.err
    assert said.err.count("\n") == 1


def test_a_reader_that_has_seen_enough_is_no_error(saved: str) -> None:
    words = shlex.join([sys.executable, "-m", "cgbpf", "rank", "--replay", saved])
    script = f"({words}; echo code $? >&2) | true"
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == "code 0\n"


def test_a_fault_of_ours_is_one_line_with_what_to_do(
    saved: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a\nfault")

    monkeypatch.setattr("cgbpf.report.table.ranking_table", fail)
    said = run("rank", "--replay", saved)
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "fault of cgbpf" in said.err
    assert "-v" in said.err
