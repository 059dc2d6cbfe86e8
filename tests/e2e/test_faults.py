"""What goes wrong around a recording: planted directories, signals, perf that hangs."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.reading import manifest, samples
from tests.e2e.test_command import options
from tests.support.cgroups import CgroupTree
from tests.support.command import cgbpf, default_signals

pytestmark = pytest.mark.e2e

PATIENCE_S = 30.0


def started(words: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cgbpf", "record", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=default_signals,
    )


def wait_for(path: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert time.monotonic() < end, f"{path} does not appear"
        time.sleep(0.02)


def test_a_directory_of_another_user_is_refused(cgroups: CgroupTree, tmp_path: Path) -> None:
    """Root would follow the links that its owner plants in it."""
    cgroups.make("hot").spin()
    folder = tmp_path / "planted"
    folder.mkdir()
    os.chown(folder, 65534, 65534)
    done = cgbpf("record", *options(cgroups, folder))
    assert (done.returncode, done.stderr.count("\n")) == (8, 1)
    assert "another user's" in done.stderr
    assert list(folder.iterdir()) == []


def test_a_link_to_a_directory_is_refused_and_its_target_left_alone(
    cgroups: CgroupTree, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(target)
    done = cgbpf("record", *options(cgroups, tmp_path / "link"))
    assert done.returncode == 8
    assert stat.S_IMODE(target.stat().st_mode) == 0o755


def test_a_directory_that_was_there_stays_as_it_was_if_nothing_is_recorded(
    cgroups: CgroupTree, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o750)
    done = cgbpf("record", *options(cgroups, folder))
    assert done.returncode == 3, "no cgroup of the tree used CPU"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o750


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_before_perf_runs_has_its_code_and_leaves_nothing(
    cgroups: CgroupTree, tmp_path: Path, number: signal.Signals
) -> None:
    cgroups.make("hot").spin()
    folder = tmp_path / "profile"
    with started(["--window", "30", "--output", str(folder)]) as process:
        wait_for(folder)
        process.send_signal(number)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (128 + number, "cgbpf: interrupted\n")
    assert not folder.exists()


def test_more_signals_than_one_lose_nothing(cgroups: CgroupTree, tmp_path: Path) -> None:
    """As a closed terminal sends them, or somebody impatient."""
    cgroups.make("hot").spin()
    folder = tmp_path / "profile"
    with started([*options(cgroups, folder), "--duration", "30"]) as process:
        wait_for(folder / "perf.data")
        time.sleep(1.0)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            process.send_signal(number)
            time.sleep(0.02)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert manifest(folder)["interrupted"] is True
    assert samples(folder / "perf.data")


def test_a_command_that_will_not_end_is_ended_after_perf(
    cgroups: CgroupTree, tmp_path: Path
) -> None:
    cgroups.make("hot").spin()
    folder = tmp_path / "profile"
    stubborn = "trap '' TERM; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do sleep 1; done"
    with started([*options(cgroups, folder), "--", "sh", "-c", stubborn]) as process:
        wait_for(folder / "perf.data")
        time.sleep(1.0)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 128 + signal.SIGTERM
    told = manifest(folder)
    assert told["interrupted"] is True
    assert told["recorded_s"] < 10
    assert samples(folder / "perf.data")


def test_a_count_that_hangs_can_be_cut_short_and_the_manifest_is_there(
    cgroups: CgroupTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cgroups.make("hot").spin()
    shim, counting = tmp_path / "bin" / "perf", tmp_path / "counting"
    shim.parent.mkdir()
    shim.write_text(
        f'#!/bin/sh\ncase " $* " in *" --stats "*) : > {counting}; exec sleep 600;; esac\n'
        f'exec {shutil.which("perf")} "$@"\n'
    )
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    folder = tmp_path / "profile"
    with started([*options(cgroups, folder), "--duration", "1"]) as process:
        wait_for(counting)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 128 + signal.SIGINT
    assert manifest(folder)["cgroups"][0]["samples"] is None


def test_a_cgroup_deeper_than_a_path_can_tell_hides_no_other(
    cgroups: CgroupTree, tmp_path: Path
) -> None:
    hot = cgroups.make("hot")
    hot.spin()
    home = os.getcwd()
    made = []
    try:
        os.chdir(cgroups.root.directory)
        for _ in range(20):
            os.mkdir("d" * 250)
            os.chdir("d" * 250)
            made.append(os.open(".", os.O_RDONLY | os.O_DIRECTORY))
        burn = "import time; e = time.time() + 20\nwhile time.time() < e: pass"
        with subprocess.Popen([sys.executable, "-c", burn]) as deep:
            with open("cgroup.procs", "w") as file:
                file.write(str(deep.pid))
            os.chdir(home)
            done = cgbpf("rank", "--window", "0.5", "--source", "bpf", "--format", "csv")
            deep.kill()
        assert (done.returncode, done.stderr) == (0, "")
        assert hot.path in done.stdout
        assert "unknown:" in done.stdout
    finally:
        os.chdir(home)
        while made:
            os.close(made.pop())
            parent = made[-1] if made else os.open(cgroups.root.directory, os.O_RDONLY)
            _remove_below(parent)


def _remove_below(parent: int) -> None:
    """rmdir of the deep one, as soon as its task is gone."""
    for _ in range(100):
        try:
            os.rmdir("d" * 250, dir_fd=parent)
            return
        except OSError:
            time.sleep(0.02)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_cost_no_recording(cgroups: CgroupTree, tmp_path: Path, closed: str) -> None:
    cgroups.make("hot").spin()
    folder = tmp_path / "profile"
    words = ["record", *options(cgroups, folder), "--duration", "0.5"]
    script = f'exec "$@" {closed}'
    argv = ["sh", "-c", script, "sh", sys.executable, "-m", "cgbpf", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == (8 if ">&-" in closed.replace("2>&-", "") else 0), done.stderr
    assert manifest(folder)["cgroups"][0]["samples"] > 0


def test_a_full_output_is_one_line_and_a_code(cgroups: CgroupTree) -> None:
    cgroups.make("hot").spin()
    script = '"$@" > /dev/full'
    argv = ["sh", "-c", script, "sh", sys.executable, "-m", "cgbpf", "rank", "--window", "0.3"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stderr.count("\n")) == (8, 1)
    assert "no space left" in done.stderr
