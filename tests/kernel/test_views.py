"""What is seen from inside a container: a part of the hierarchy, or all of it elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cgbpf.hierarchy import (
    Hierarchy,
    memory_hierarchy,
    mounted,
    own_cgroup,
    perf_hierarchy,
)
from cgbpf.sources.usage import Files
from tests.support.cgroups import CgroupTree

# Its own cgroup namespace, with a mount that shows its own part only.
PART = """
mount --make-rprivate /
mount -t tmpfs none /mnt && mkdir /mnt/part
mount -t cgroup2 none /mnt/part
exec "$@"
"""


def inside(cgroups: CgroupTree, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs cgbpf in a cgroup of its own, with a private cgroup namespace."""
    home = cgroups.make("container")
    enter = f"echo $$ > {home.directory}/cgroup.procs; exec unshare -C -m sh -c '{PART}' sh \"$@\""
    argv = ["sh", "-c", enter, "sh", sys.executable, "-m", "cgbpf", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.kernel
def test_a_view_that_shows_only_a_part_is_said_and_what_is_outside_is_not_misnamed(
    cgroups: CgroupTree,
) -> None:
    hog = cgroups.make("hog")
    hog.spin()
    done = inside(
        cgroups, "rank", "--window", "0.3", "--source", "bpf", "--format", "csv",
        "--cgroup-root", "/mnt/part", "--limit", "1000",
    )  # fmt: skip
    assert "shows only a part of this host's cgroups" in done.stderr
    assert done.returncode == 0, done.stderr
    assert f"unknown:{hog.id}" in done.stdout
    assert "/hog" not in done.stdout


@pytest.mark.kernel
def test_recording_where_perf_looks_elsewhere_is_refused(
    cgroups: CgroupTree, tmp_path: Path
) -> None:
    """perf takes the last cgroup2 mount there is, which here shows a part only."""
    cgroups.make("hog").spin()
    whole = perf_hierarchy(mounted()).mount
    done = inside(
        cgroups, "record", "--window", "0.3", "--duration", "1", "--cgroup-root", whole,
        "--output", str(tmp_path / "profile"),
    )  # fmt: skip
    assert done.returncode == 4
    assert "perf looks cgroups up in /mnt/part" in done.stderr
    assert not (tmp_path / "profile").exists()


@pytest.mark.kernel
def test_our_own_unit_is_left_out_unless_asked_for(cgroups: CgroupTree) -> None:
    home = cgroups.make("home")
    burn = "import time; end = time.time() + 0.6\nwhile time.time() < end: pass"
    script = (
        f"echo $$ > {home.directory}/cgroup.procs; "
        f"'{sys.executable}' -c '{burn}' & exec '{sys.executable}' -m cgbpf \"$@\""
    )

    def rank(*words: str) -> subprocess.CompletedProcess[str]:
        argv = ["sh", "-c", script, "sh", "rank", "--window", "0.5", "--limit", "1000",
                "--format", "csv", "--include", f"{home.path}*", *words]  # fmt: skip
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)

    without, with_own = rank(), rank("--own")
    assert without.returncode == 3
    assert home.path not in without.stdout
    assert "cgbpf itself runs in it" in without.stderr
    assert home.path in with_own.stdout


@pytest.mark.kernel
def test_memory_is_found_where_the_task_is_in_the_memory_hierarchy(
    cgroups: CgroupTree,
) -> None:
    """On a v2 host both are one; on a hybrid one a task may be elsewhere there."""
    mounts = mounted()
    ranked, memory = perf_hierarchy(mounts), memory_hierarchy(mounts)
    assert memory is not None
    ours = cgroups.make("here")
    load = ours.spin()
    there = Path(memory.directory(f"/cgbpf-test-memory-{load.pid}"))
    if memory != ranked:
        assert Files(mounts, ranked).look(ours.path).memory_bytes is None
        there.mkdir()
        (there / "cgroup.procs").write_text(str(load.pid))
    try:
        seen = Files(mounts, ranked).look(ours.path)
    finally:
        load.stop()
        if memory != ranked:
            there.rmdir()
    assert seen.memory_bytes is not None
    assert seen.working_set_bytes is not None
    assert 0 <= seen.working_set_bytes <= seen.memory_bytes


def test_the_root_of_a_whole_view_is_inode_1(hierarchy: Hierarchy) -> None:
    assert hierarchy.shows_all


@pytest.mark.parametrize(
    ("hierarchy", "path"),
    [
        (Hierarchy(2, "/m"), "/a b"),
        (Hierarchy(2, "/m", root="/a b"), "/"),
        (Hierarchy(2, "/m", root="/other"), None),
        (Hierarchy(1, "/m", frozenset({"cpuacct"})), "/docker/x:y"),
        (Hierarchy(1, "/m", frozenset({"perf_event"})), None),
    ],
)
def test_our_own_cgroup_is_that_of_the_hierarchy(hierarchy: Hierarchy, path: str | None) -> None:
    text = "3:cpu,cpuacct:/docker/x:y\n1:name=systemd:/init\n0::/a b\n"
    assert hierarchy.own_path(text) == path


def test_our_own_cgroup_is_there(hierarchy: Hierarchy) -> None:
    assert (own_cgroup(hierarchy) or "").startswith("/")
