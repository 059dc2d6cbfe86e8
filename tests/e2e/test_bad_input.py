"""Wrong command lines: one line on stderr, the documented code, nothing written."""

from __future__ import annotations

from pathlib import Path
from subprocess import CompletedProcess

import pytest

from cgbpf.errors import BadRequest, CommandMissing, NothingFound, OutputRefused, PerfUnusable
from tests.support.cgroups import CgroupTree
from tests.support.command import cgbpf

pytestmark = pytest.mark.e2e

USAGE = 2
BOTH = [
    (("--limit", "0"), BadRequest.exit_code),
    (("--limit", "-1"), BadRequest.exit_code),
    (("--limit", "99999999999999999999"), BadRequest.exit_code),
    (("--limit", "many"), USAGE),
    (("--score", "no_such_column"), BadRequest.exit_code),
    (("--score", "cpu +"), BadRequest.exit_code),
    (("--score", "__import__('os').abort()"), BadRequest.exit_code),
    (("--level", "sideways"), BadRequest.exit_code),
    (("--window", "0"), USAGE),
    (("--window", "nan"), USAGE),
    (("--source", "guess"), USAGE),
    (("--no-such-option",), USAGE),
    (("--include", "/no/such/cgroup", "--window", "0.1"), NothingFound.exit_code),
]
RECORD = [
    (("--duration", "-1"), USAGE),
    (("--frequency", "0"), USAGE),
    (("--event", "cpu-clock,task-clock"), BadRequest.exit_code),
    (("--event", "no-such-event"), PerfUnusable.exit_code),
    (("--duration", "1", "--", "true"), BadRequest.exit_code),
    (("--", "no-such-program"), CommandMissing.exit_code),
]


def assert_one_line(done: CompletedProcess[str], code: int) -> None:
    """It failed as it should: nothing on stdout, one line on stderr, no traceback."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("cgbpf: ")
    assert "fault of cgbpf" not in line


@pytest.mark.parametrize(("arguments", "code"), BOTH)
def test_rank(arguments: tuple[str, ...], code: int) -> None:
    assert_one_line(cgbpf("rank", *arguments), code)


@pytest.mark.parametrize(("arguments", "code"), BOTH + RECORD)
def test_record(arguments: tuple[str, ...], code: int, tmp_path: Path) -> None:
    done = cgbpf("record", "--output", str(tmp_path / "new"), *arguments, cwd=tmp_path)

    assert_one_line(done, code)
    assert list(tmp_path.iterdir()) == []


def test_a_score_that_divides_by_zero(cgroups: CgroupTree) -> None:
    cgroups.make("hot").spin()

    done = cgbpf("rank", "--window", "0.2", "--score", "cpu / (host - host)")

    assert_one_line(done, BadRequest.exit_code)


def test_an_output_directory_in_use_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("words")
    tmp_path.chmod(0o755)

    done = cgbpf("record", "--output", str(tmp_path))

    assert_one_line(done, OutputRefused.exit_code)
    assert [each.name for each in tmp_path.iterdir()] == ["precious"]
    assert (tmp_path / "precious").read_text() == "words"
    assert tmp_path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_an_output_directory_that_is_a_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("words")

    done = cgbpf("record", "--output", str(tmp_path / name))

    assert_one_line(done, OutputRefused.exit_code)
    assert (tmp_path / "file").read_text() == "words"


def test_a_refused_recording_leaves_no_default_directory(tmp_path: Path) -> None:
    done = cgbpf("record", "--include", "/no/such/cgroup", "--window", "0.1", cwd=tmp_path)

    assert_one_line(done, NothingFound.exit_code)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_command() -> None:
    assert_one_line(cgbpf("frobnicate"), USAGE)
