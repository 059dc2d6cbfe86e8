"""Which cgroup trees there are, from the text of mountinfo, and walking one."""

from __future__ import annotations

from pathlib import Path

import pytest

from cgbpf import hierarchy as module
from cgbpf.errors import SourceUnavailable
from cgbpf.hierarchy import (
    Hierarchy,
    cpu_hierarchy,
    memory_hierarchy,
    mounted,
    parse_mountinfo,
    perf_hierarchy,
    unified,
    with_controller,
)

V1_CPU = "33 32 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct"
V1_MEMORY = "34 32 0:31 / /sys/fs/cgroup/memory rw shared:10 - cgroup cgroup rw,memory"
V1_PERF = "35 32 0:32 / /sys/fs/cgroup/perf_event rw shared:11 - cgroup cgroup rw,perf_event"
V1_NAMED = "36 32 0:33 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd"
V2_HYBRID = "37 32 0:34 / /sys/fs/cgroup/unified rw,nosuid shared:12 - cgroup2 cgroup2 rw"
V2_PURE = "30 23 0:26 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate"
OTHERS = "22 1 0:21 / /proc rw shared:5 - proc proc rw\n23 1 0:22 / /sys rw - sysfs sysfs rw"


def parse(*lines: str) -> list[Hierarchy]:
    return parse_mountinfo("\n".join((OTHERS, *lines)) + "\n")


def test_pure_v2_is_ranked_and_counted_in_one_hierarchy() -> None:
    mounts = parse(V2_PURE)
    assert mounts == [Hierarchy(2, "/sys/fs/cgroup")]
    ranked = perf_hierarchy(mounts)
    assert ranked is mounts[0]
    assert cpu_hierarchy(mounts, ranked) is ranked
    assert memory_hierarchy(mounts) is ranked


def test_hybrid_without_perf_event_ranks_cgroup2_and_reads_memory_from_v1() -> None:
    mounts = parse(V1_CPU, V1_MEMORY, V1_NAMED, V2_HYBRID)
    ranked = perf_hierarchy(mounts)
    assert (ranked.version, ranked.mount) == (2, "/sys/fs/cgroup/unified")
    memory = memory_hierarchy(mounts)
    assert memory is not None
    assert memory.mount == "/sys/fs/cgroup/memory"
    assert cpu_hierarchy(mounts, ranked) is ranked


def test_perf_event_on_v1_is_what_perf_filters_on_wherever_it_stands() -> None:
    for mounts in (parse(V1_PERF, V1_CPU, V2_HYBRID), parse(V2_HYBRID, V1_CPU, V1_PERF)):
        ranked = perf_hierarchy(mounts)
        assert (ranked.version, ranked.mount) == (1, "/sys/fs/cgroup/perf_event")
        counted = cpu_hierarchy(mounts, ranked)
        assert counted is not None
        assert counted.mount == "/sys/fs/cgroup/cpu,cpuacct"


def test_of_several_cgroup2_mounts_perf_takes_the_last() -> None:
    """As cgroupfs_find_mountpoint does (perf's tools/lib/api/fs/cgroup.c)."""
    inner = "99 32 0:34 /docker/a /mnt/inner rw - cgroup2 cgroup2 rw"
    assert perf_hierarchy(parse(V2_PURE, inner)).mount == "/mnt/inner"
    assert perf_hierarchy(parse(inner, V2_PURE)).mount == "/sys/fs/cgroup"


def test_v1_alone_has_no_cgroup2_and_perf_event_without_cpuacct_has_no_counter() -> None:
    mounts = parse(V1_PERF, V1_MEMORY)
    assert unified(mounts) is None
    assert cpu_hierarchy(mounts, perf_hierarchy(mounts)) is None


@pytest.mark.parametrize("lines", [(), (V1_CPU, V1_MEMORY, V1_NAMED)], ids=["none", "v1 only"])
def test_no_hierarchy_of_perf_is_a_clear_error(lines: tuple[str, ...]) -> None:
    with pytest.raises(SourceUnavailable, match=r"no cgroup hierarchy.*mount"):
        perf_hierarchy(parse(*lines))


def test_controllers_of_v1_are_those_it_was_mounted_with() -> None:
    mounts = parse(V1_CPU, V2_PURE)
    assert mounts[0].controllers >= {"cpu", "cpuacct"}
    assert mounts[1].controllers == frozenset()
    assert with_controller(mounts, "cpuacct") is mounts[0]
    assert with_controller(mounts, "cp") is None


@pytest.mark.parametrize(
    ("escaped", "plain"),
    [
        (r"/mnt/my\040cgroups", "/mnt/my cgroups"),
        (r"/mnt/tab\011new\012line", "/mnt/tab\tnew\nline"),
        (r"/mnt/back\134040slash", r"/mnt/back\040slash"),
        ("/mnt/grüße-\udcff", "/mnt/grüße-\udcff"),
        ("/mnt/form\x0cfeed\u2028line\x85", "/mnt/form\x0cfeed\u2028line\x85"),
    ],
)
def test_mount_points_are_unescaped_and_only_newlines_end_a_line(escaped: str, plain: str) -> None:
    (found,) = parse(f"30 23 0:26 / {escaped} rw - cgroup2 cgroup2 rw")
    assert found.mount == plain


def test_optional_fields_may_be_none_or_several_and_the_root_a_cgroup() -> None:
    line = r"30 23 0:26 /docker/a\040b /cg rw shared:1 master:2 propagate_from:3 - cgroup2 x rw"
    assert parse(line) == [Hierarchy(2, "/cg", frozenset(), "/docker/a b")]


@pytest.mark.parametrize("line", ["", "garbage", "1 2 3 - cgroup2", "30 23 0:26 / /c rw cgroup2"])
def test_lines_that_are_no_mounts_are_skipped(line: str) -> None:
    assert parse(line, V2_PURE) == [Hierarchy(2, "/sys/fs/cgroup")]


def test_mounted_reads_names_that_are_not_utf8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mountinfo"
    file.write_bytes(b"30 23 0:26 / /cg\xff\r2 rw - cgroup2 cgroup2 rw\n")
    monkeypatch.setattr(module, "MOUNTINFO", str(file))
    assert [each.mount for each in mounted()] == ["/cg\udcff\r2"]


def test_walk_gives_parents_first_with_the_ids_of_their_directories(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "c").mkdir()
    (tmp_path / "cpu.stat").write_text("usage_usec 0\n")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    tree = Hierarchy(2, str(tmp_path))
    found = [(path, number) for number, path in tree.walk()]
    assert sorted(found) == [
        ("/", tmp_path.stat().st_ino),
        ("/a", (tmp_path / "a").stat().st_ino),
        ("/a/b", (tmp_path / "a" / "b").stat().st_ino),
        ("/c", (tmp_path / "c").stat().st_ino),
    ]
    order = [path for path, _ in found]
    assert order.index("/") < order.index("/a") < order.index("/a/b")


def test_the_id_of_a_path_is_its_inode_and_none_where_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    tree = Hierarchy(2, str(tmp_path))
    assert tree.cgroup_id("/") == tmp_path.stat().st_ino
    assert tree.cgroup_id("/a") == (tmp_path / "a").stat().st_ino
    assert tree.cgroup_id("/b") is None
    assert tree.cgroup_id("unknown:5") is None


def test_a_hierarchy_mounted_at_the_root_directory_has_no_double_slash() -> None:
    (found,) = parse("30 23 0:26 / / rw - cgroup2 cgroup2 rw")
    assert found.directory("/a") == "/a"
