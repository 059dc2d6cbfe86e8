"""The known loads are what they say: their share, in their cgroup, gone when told."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import usable
from tests.support.cgroups import CgroupTree
from tools.known_load import Cgroup, Load, shell_loop
from tools.test_hosts import RuncHost

pytestmark = pytest.mark.e2e

TOOL = Path(__file__).parents[2] / "tools" / "known_load.py"


def share(usage: Path, seconds: float) -> float:
    """Percent of one CPU that a cgroup2 gets, by the kernel's own count."""

    def used_s() -> float:
        return int(usage.read_text().split()[1]) / 1e6

    before, begun = used_s(), time.monotonic()
    time.sleep(seconds)
    return 100 * (used_s() - before) / (time.monotonic() - begun)


def test_uses_its_share_and_no_more(cgroups: CgroupTree) -> None:
    """A loaded machine may give it less: that bound is wide."""
    cgroup = cgroups.make("load")
    with Load(30, [cgroup.directory]):
        time.sleep(0.3)  # Python's own start is in the cgroup too
        assert 10 < share(cgroup.directory / "cpu.stat", 2) < 33


def test_the_shell_loop_does_so_too(cgroups: CgroupTree) -> None:
    with usable(RuncHost)() as host:
        container = host.run(shell_loop(20))
        directory = Path(cgroups.hierarchy.directory(container.path))
        assert 7 < share(directory / "cpu.stat", 3) < 26


def test_removes_only_the_cgroups_it_made(cgroups: CgroupTree) -> None:
    parent = cgroups.make("parent")
    with Cgroup(f"{parent.path}/a/b", [cgroups.hierarchy]) as made:
        assert [each.is_dir() for each in made.directories] == [True]
        with pytest.raises(FileExistsError), Cgroup(f"{parent.path}/a/b", [cgroups.hierarchy]):
            pass
        assert made.directories[0].is_dir()
    assert not (parent.directory / "a").exists()
    assert parent.directory.is_dir()


def test_the_command_cleans_up_when_told_to_end(cgroups: CgroupTree) -> None:
    path = f"{cgroups.root.path}/by-command"
    with subprocess.Popen(
        [sys.executable, str(TOOL), path, "--percent", "5"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        told = process.stdout.readline()
        directory = Path(cgroups.hierarchy.directory(path))
        (pid,) = (directory / "cgroup.procs").read_text().split()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 130
    assert f"{path}, process {pid}" in told
    assert not directory.exists()
    assert not Path(f"/proc/{pid}").exists()
