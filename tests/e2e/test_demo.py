"""`make demo`, as it stands: it finds the hot one, and cleans up whatever happens."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from cgbpf.hierarchy import mounted
from tests.e2e.reading import manifest, pids, samples
from tests.support.command import default_signals
from tools.demo import ROLES, make_way
from tools.known_load import HOT_FUNCTIONS

pytestmark = pytest.mark.e2e

DEMO = Path(__file__).parents[2] / "tools" / "demo.py"


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """The demo in a session of its own, as from a terminal."""
    return subprocess.Popen(
        [sys.executable, str(DEMO), *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=default_signals,
    )


def cgroups_left() -> set[str]:
    """Directories of the demo's containers, in any hierarchy."""
    prefixes = tuple(role.short_id for role in ROLES)
    return {
        entry.path
        for each in mounted()
        for entry in _entries(each.directory("/docker"))
        if entry.name.startswith(prefixes)
    }


def _entries(directory: str) -> Iterable[os.DirEntry[str]]:
    try:
        return list(os.scandir(directory))
    except FileNotFoundError:
        return []


def loads_left(output: str) -> list[int]:
    """Those of the processes that the demo said it started that run still."""
    return [pid for pid in pids_told(output) if b"known_load" in _command_line(pid)]


def pids_told(output: str) -> list[int]:
    """The processes that the demo says it started, the hot one first."""
    told = [int(pid) for pid in re.findall(r" pid (\d+)", output)]
    assert len(told) == len(ROLES)
    return told


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_shows_the_hot_container(tmp_path: Path) -> None:
    with start(cwd=tmp_path) as process:
        output, errors = process.communicate(timeout=120)

    assert process.returncode == 0, errors
    assert cgroups_left() == set()
    assert loads_left(output) == []
    assert "$ cgbpf record --limit 2 --duration 5 --output demo-profile\n" in output
    assert "perf report -i demo-profile/perf.data\n" in output
    assert output.count(ROLES[0].short_id) >= 3  # announced, in the table, confirmed
    folder = tmp_path / "demo-profile"
    # Whatever else is busy on this host may be second: the demo can't be told to look away.
    hot, second = manifest(folder)["cgroups"]
    assert hot["name"] == ROLES[0].short_id
    found = samples(folder / "perf.data")
    assert pids(found, hot["event"]) == {pids_told(output)[0]}
    assert {each.event for each in found} == {hot["event"], second["event"]}
    assert {each.name for each in folder.iterdir()} == {"manifest.json", "perf.data"}
    assert HOT_FUNCTIONS["crc32"] in hot_symbols(folder / "perf.data")

    make_way(folder)  # as the next run does

    assert list(folder.iterdir()) == []


def hot_symbols(data: Path) -> str:
    """What the command that the demo recommends prints of the functions."""
    command = ["perf", "report", "-i", str(data), "--stdio", "--no-children", "-g", "none"]
    return subprocess.run(
        [*command, "--sort", "symbol"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_cleans_up_when_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "profile"
    with start("--output", str(folder), cwd=tmp_path) as process:
        end = time.monotonic() + 60
        while not (folder / "perf.data").exists():
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.05)
        # As a terminal does: to everybody in the foreground.
        os.killpg(process.pid, number)
        output, errors = process.communicate(timeout=60)

    assert process.returncode == 130
    assert errors.splitlines()[-1].startswith("demo: interrupted")
    assert "Traceback" not in errors
    assert cgroups_left() == set()
    assert loads_left(output) == []


def test_leaves_a_directory_of_somebody_else_alone(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"schema": 1, "cgroups": [{"path": "/docker/1"}]}')
    (tmp_path / "perf.data").write_text("precious")

    with start("--output", str(tmp_path), cwd=tmp_path) as process:
        output, errors = process.communicate(timeout=60)

    assert process.returncode == 1
    assert output == ""
    assert len(errors.splitlines()) == 1
    assert (tmp_path / "perf.data").read_text() == "precious"
    assert cgroups_left() == set()
