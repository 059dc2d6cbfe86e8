"""What is seen from inside a container: a part of the hierarchy, or all of it elsewhere."""

from __future__ import annotations

import json
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
    with_controller,
)
from cgbpf.sources.usage import Files
from tests.support.cgroups import CgroupTree
from tests.support.requirements import unavailable

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


BROKEN_BTF = """
mount --make-rprivate /
mount -t tmpfs none /mnt
head -c 100000 /sys/kernel/btf/vmlinux > /mnt/btf
mount --bind /mnt/btf /sys/kernel/btf/vmlinux
exec "$@"
"""


def with_broken_btf(*words: str) -> subprocess.CompletedProcess[str]:
    argv = ["unshare", "-m", "sh", "-c", BROKEN_BTF, "sh", sys.executable, "-m", "cgbpf", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.kernel
def test_truncated_types_cost_paths_of_the_dead_and_nothing_else(cgroups: CgroupTree) -> None:
    hot = cgroups.make("hot")
    hot.spin()
    done = with_broken_btf("rank", "--window", "0.3", "--source", "bpf", "--format", "csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert hot.path in done.stdout


@pytest.mark.kernel
def test_v1_without_types_falls_back_with_the_reason() -> None:
    words = ("rank", "--window", "0.3", "--hierarchy", "cpuacct", "--format", "json")
    if with_controller(mounted(), "cpuacct") is None:
        unavailable("no v1 cpuacct is mounted")
    told = with_broken_btf(*words)
    assert "needs the kernel's type information" in told.stderr
    assert json.loads(told.stdout)["source"] == "files"
    refused = with_broken_btf(*words, "--source", "bpf")
    assert refused.returncode == 6
    assert refused.stderr.count("\n") == 1


UNMOUNTED = """
mount --make-rprivate /
mount -t tmpfs none /mnt && mkdir /mnt/tree && mount -t cgroup2 none /mnt/tree
(sleep 0.9; umount -l /mnt/tree) &
"$@"
code=$?
wait
exit $code
"""


@pytest.mark.kernel
@pytest.mark.parametrize(("source", "codes"), [("files", {6}), ("bpf", {0})])
def test_a_mount_that_vanishes_while_we_run_is_no_fault(
    cgroups: CgroupTree, source: str, codes: set[int]
) -> None:
    cgroups.make("hot").spin()
    words = ["rank", "--window", "2", "--source", source, "--cgroup-root", "/mnt/tree"]
    argv = ["unshare", "-m", "sh", "-c", UNMOUNTED, "sh", sys.executable, "-m", "cgbpf", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in codes, done.stderr
    assert "fault" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.kernel
def test_a_v1_hierarchy_mounted_twice_is_ranked_once(cgroups: CgroupTree) -> None:
    if with_controller(mounted(), "cpuacct") is None:
        unavailable("no v1 cpuacct is mounted")
    script = (
        "mount --make-rprivate /; mount -t tmpfs none /mnt; mkdir '/mnt/a b'; "
        "mount -t cgroup -o cpuacct none '/mnt/a b'; exec \"$@\""
    )
    words = ["rank", "--window", "0.3", "--hierarchy", "cpuacct", "--format", "json"]
    for root in ("/", "/mnt/a b"):
        argv = ["unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-m", "cgbpf", *words]
        done = subprocess.run(
            [*argv, "--cgroup-root", root], capture_output=True, text=True, check=False, timeout=60
        )
        told = json.loads(done.stdout)
        assert told["hierarchy"]["version"] == 1
        assert told["host"]["total_ns"] > 0
        paths = [each["path"] for each in told["cgroups"]]
        assert len(paths) == len(set(paths))
        assert all(each["perf_cgroup"] is None for each in told["cgroups"])
    assert told["hierarchy"]["mount"] == "/mnt/a b"
