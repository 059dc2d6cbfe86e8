"""`perf record $(cgbpf rank --format perf)`: in a real shell, for any name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.reading import pids, samples
from tests.support.cgroups import Cgroup, CgroupTree

pytestmark = pytest.mark.e2e

RANK = "cgbpf rank --limit 1 --include '{}' --format perf"
TRAPS = (
    """sp ace 'single' "double" $(touch pwned) `touch pwned` * ? [a-z]""",
    """-e cycles;touch pwned|cat&>pwned #~{a}\\ !$HOME %n""",
)


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a script in `folder`, with the installed command on the path."""
    commands = Path(sys.executable).parent
    return subprocess.run(
        ["sh", "-c", script],
        cwd=folder,
        env=os.environ | {"PATH": f"{commands}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        # Not a pipe: perf would write its data to it.
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )


def rank_of(tree: CgroupTree) -> str:
    """The command that finds the hottest of a test's own cgroups."""
    return RANK.format(f"{tree.root.path}/*")


def hot_and_warm(tree: CgroupTree, name: str) -> Cgroup:
    """A hot cgroup of this name beside one less hot."""
    tree.make("warm").duty(20)
    hot = tree.make(name)
    hot.spin()
    return hot


def test_plain_names_need_no_eval(cgroups: CgroupTree, tmp_path: Path) -> None:
    hot = hot_and_warm(cgroups, "hot")

    done = shell(f"perf record -a $({rank_of(cgroups)}) -- sleep 1", tmp_path)

    assert done.returncode == 0, done.stderr
    assert pids(samples(tmp_path / "perf.data")) == {hot.loads[0].pid}


@pytest.mark.parametrize("name", TRAPS, ids=["quotes", "operators"])
def test_eval_takes_any_name(name: str, cgroups: CgroupTree, tmp_path: Path) -> None:
    hot = hot_and_warm(cgroups, name)
    (tmp_path / "a file for globs").touch()

    done = shell(f'eval "perf record -a $({rank_of(cgroups)}) -- sleep 1"', tmp_path)

    assert done.returncode == 0, done.stderr
    assert pids(samples(tmp_path / "perf.data")) == {hot.loads[0].pid}
    assert {each.name for each in tmp_path.iterdir()} == {"perf.data", "a file for globs"}
