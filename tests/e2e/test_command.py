"""`cgbpf record` while a command runs, and when it is interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.reading import manifest, pids, samples
from tests.support.cgroups import CgroupTree
from tests.support.command import cgbpf, default_signals

pytestmark = pytest.mark.e2e


def options(tree: CgroupTree, folder: Path) -> list[str]:
    """Of `record`, so that only a test's own cgroups are chosen from."""
    return ["--window", "0.3", "--include", f"{tree.root.path}/*", "--output", str(folder)]


@pytest.mark.parametrize("code", [0, 7])
def test_records_while_the_command_runs(cgroups: CgroupTree, tmp_path: Path, code: int) -> None:
    load = cgroups.make("hot").spin()
    folder = tmp_path / "profile"
    script = f"sleep 1; echo done; exit {code}"

    done = cgbpf("record", *options(cgroups, folder), "--", "sh", "-c", script)

    assert done.returncode == code, done.stderr
    assert done.stdout.startswith("done\n")
    told = manifest(folder)
    assert told["command"] == ["sh", "-c", script]
    assert told["command_exit"] == code
    assert told["recorded_s"] >= 1
    assert told["cgroups"][0]["samples"] > 0
    assert pids(samples(folder / "perf.data")) == {load.pid}


def test_a_command_that_a_signal_ended_gives_the_shells_code(
    cgroups: CgroupTree, tmp_path: Path
) -> None:
    cgroups.make("hot").spin()
    folder = tmp_path / "profile"

    done = cgbpf("record", *options(cgroups, folder), "--", "sh", "-c", "sleep 0.3; kill -TERM $$")

    assert done.returncode == 128 + signal.SIGTERM
    assert manifest(folder)["cgroups"][0]["samples"] is not None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_recording_is_kept(
    cgroups: CgroupTree, tmp_path: Path, number: signal.Signals
) -> None:
    load = cgroups.make("hot").spin()
    folder = tmp_path / "profile"
    started = tmp_path / "started"
    with subprocess.Popen(
        [
            sys.executable, "-m", "cgbpf", "record", *options(cgroups, folder), "--",
            "sh", "-c", f"sleep 1; touch '{started}'; exec sleep 60",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=default_signals,
    ) as process:  # fmt: skip
        wait_for(started)
        process.send_signal(number)
        process.communicate(timeout=60)

    assert process.returncode == 128 + number
    told = manifest(folder)
    assert told["interrupted"]
    assert told["cgroups"][0]["samples"] > 0
    assert pids(samples(folder / "perf.data")) == {load.pid}


def wait_for(path: Path) -> None:
    """Until a file is there."""
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, f"{path} does not come"
        time.sleep(0.05)
