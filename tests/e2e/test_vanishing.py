"""A cgroup that is ranked, and gone before perf opens it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.reading import manifest, pids, samples
from tests.support.cgroups import Cgroup, CgroupTree
from tests.support.command import cgbpf

pytestmark = pytest.mark.e2e

SHIM = """#!/bin/sh
case " $* " in *" -G "*)
    if [ ! -e {done} ]; then
        : > {done}
        {ends}
    fi
esac
exec {perf} "$@"
"""
END = """
kill -KILL {pid}
tries=0
until rmdir {directory} 2>/dev/null || [ $((tries += 1)) -gt 200 ]; do sleep 0.05; done
"""


def path_with_shim(folder: Path, victims: Sequence[Cgroup]) -> dict[str, str]:
    """An environment whose perf first ends `victims`, when it is to record the first time."""
    perf = shutil.which("perf")
    assert perf
    ends = [
        END.format(pid=load.pid, directory=shlex.quote(str(victim.directory)))
        for victim in victims
        for load in victim.loads
    ]
    folder.mkdir()
    shim = folder / "perf"
    done = shlex.quote(str(folder / "done"))
    shim.write_text(SHIM.format(done=done, ends="".join(ends), perf=shlex.quote(perf)))
    shim.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def options(tree: CgroupTree, folder: Path, limit: int) -> list[str]:
    return [
        "--limit", str(limit), "--window", "0.5", "--duration", "1",
        "--include", f"{tree.root.path}/*", "--output", str(folder),
    ]  # fmt: skip


def test_the_next_takes_its_place(cgroups: CgroupTree, tmp_path: Path) -> None:
    hottest, second, third = (cgroups.make(name) for name in ("hottest", "second", "third"))
    hottest.spin()
    load = second.duty(40)
    third.duty(5)
    folder = tmp_path / "profile"
    env = path_with_shim(tmp_path / "bin", [hottest])

    done = cgbpf("record", *options(cgroups, folder, limit=1), env=env)

    assert done.returncode == 0, done.stderr
    told = manifest(folder)
    assert [each["path"] for each in told["cgroups"]] == [second.path]
    (dropped,) = told["dropped"]
    assert dropped["path"] == hottest.path
    assert re.search("vanished|gone", dropped["reason"])
    assert hottest.path in done.stdout
    assert pids(samples(folder / "perf.data")) == {load.pid}


def test_several_vanish_at_once(cgroups: CgroupTree, tmp_path: Path) -> None:
    """perf names only the first that is missing: the others are found as well."""
    gone = [cgroups.make(f"gone{number}") for number in range(3)]
    for cgroup in gone:
        cgroup.duty(30)
    kept = cgroups.make("kept")
    load = kept.duty(10)
    folder = tmp_path / "profile"
    env = path_with_shim(tmp_path / "bin", gone)

    done = cgbpf("record", *options(cgroups, folder, limit=4), env=env)

    assert done.returncode == 0, done.stderr
    told = manifest(folder)
    assert [each["path"] for each in told["cgroups"]] == [kept.path]
    assert {each["path"] for each in told["dropped"]} == {each.path for each in gone}
    assert pids(samples(folder / "perf.data")) == {load.pid}


def test_nothing_is_left_to_record(cgroups: CgroupTree, tmp_path: Path) -> None:
    only = cgroups.make("only")
    only.spin()
    folder = tmp_path / "profile"
    env = path_with_shim(tmp_path / "bin", [only])

    done = cgbpf("record", *options(cgroups, folder, limit=1), env=env)

    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert only.path in done.stderr
    assert not folder.exists()
