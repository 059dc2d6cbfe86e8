"""What a source needs, what its failures mean, and what single files say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cgbpf import privileges
from cgbpf.errors import CgbpfError, NotPermitted, SourceUnavailable
from cgbpf.hierarchy import Hierarchy
from cgbpf.model import Seen
from cgbpf.naming.places import Places
from cgbpf.sources import choose, loading
from cgbpf.sources.files import FilesSource
from cgbpf.sources.loading import MAX_CGROUPS, MIN_CGROUPS, Loading, count_cgroups, room_for
from cgbpf.sources.usage import Files


@pytest.mark.parametrize(
    ("cgroups", "room"),
    [
        (0, MIN_CGROUPS),
        (MIN_CGROUPS // 2, MIN_CGROUPS),
        (MIN_CGROUPS // 2 + 1, 2 * MIN_CGROUPS),
        (10_000, 32_768),
        (MAX_CGROUPS, MAX_CGROUPS),
    ],
)
def test_the_map_has_room_for_twice_what_there_is(cgroups: int, room: int) -> None:
    assert room_for(cgroups) == room


def test_counting_cgroups_where_the_kernel_does_not(tmp_path: Path) -> None:
    tree = Hierarchy(2, str(tmp_path))
    assert count_cgroups(tree) == 0
    (tmp_path / "cgroup.stat").write_text("nr_descendants 12\nnr_dying_descendants 3\n")
    assert count_cgroups(tree) == 12
    (tmp_path / "cgroup.stat").write_text("nonsense\n")
    assert count_cgroups(tree) == 0


@pytest.mark.parametrize(
    ("held", "missing"),
    [
        ((), ["CAP_BPF", "CAP_PERFMON"]),
        (("CAP_BPF",), ["CAP_PERFMON"]),
        (("CAP_PERFMON",), ["CAP_BPF"]),
        (("CAP_BPF", "CAP_PERFMON"), []),
        (("CAP_SYS_ADMIN",), []),
        (("CAP_DAC_READ_SEARCH",), ["CAP_BPF", "CAP_PERFMON"]),
    ],
)
def test_what_the_bpf_source_lacks_is_named(held: tuple[str, ...], missing: list[str]) -> None:
    assert privileges.missing_for_bpf(frozenset(held)) == missing


def test_capabilities_are_those_the_kernel_tells() -> None:
    status = Path("/proc/self/status").read_text()
    mask = int(next(line.split()[1] for line in status.splitlines() if "CapEff" in line), 16)
    assert ("CAP_BPF" in privileges.effective()) == bool(mask & 1 << 39)
    assert ("CAP_SYS_ADMIN" in privileges.effective()) == bool(mask & 1 << 21)


def test_missing_capabilities_are_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privileges, "effective", lambda: frozenset({"CAP_BPF"}))
    with pytest.raises(NotPermitted, match="needs CAP_PERFMON; run as root"):
        Loading(Hierarchy(2, "/nowhere"))


def test_a_v1_hierarchy_without_a_controller_is_not_for_bpf() -> None:
    with pytest.raises(SourceUnavailable, match=r"v1 hierarchy at /v1 has no.*--source files"):
        Loading(Hierarchy(1, "/v1", frozenset({"name=systemd"})))


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        ({"error": "ModuleNotFoundError: No module named 'bcc'"}, SourceUnavailable,
         "apt install python3-bpfcc"),
        ({"error": "ImportError: cannot import name 'BPF' from 'bcc'"}, SourceUnavailable,
         "apt install python3-bpfcc"),
        ({"error": "Exception: Failed to load BPF program", "noise": ["Operation not permitted"]},
         NotPermitted, "CAP_BPF and CAP_PERFMON"),
        ({"error": "Exception: Failed to compile BPF module", "noise": ["a", "b: error"]},
         SourceUnavailable, "b: error"),
        ({"error": "the loader gave no answer"}, SourceUnavailable, "no answer"),
        ({"error": "OSError: [Errno 28]", "noise": []}, SourceUnavailable, "Errno 28"),
    ],
)  # fmt: skip
def test_the_loaders_failures_are_translated(
    answer: dict[str, Any], kind: type[CgbpfError], said: str
) -> None:
    error = loading._translate(answer)
    assert type(error) is kind
    assert said in str(error)
    assert error.hint


class Refused:
    """A BPF source that is not to be had, as whichever part of it fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self, *_: object, **__: object) -> None:
        raise self.error


def v2_of_its_own(folder: Path) -> Hierarchy:
    (folder / "cpu.stat").write_text("usage_usec 5\nuser_usec 3\n")
    return Hierarchy(2, str(folder))


@pytest.mark.parametrize(
    "error", [NotPermitted("not yours", "become root"), SourceUnavailable("no BCC", "install it")]
)
def test_only_auto_falls_back_and_says_why(
    error: CgbpfError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "Loading", Refused(error))
    mounts = [v2_of_its_own(tmp_path)]
    source = choose.open_source("auto", mounts)
    assert (source.kind, source.fallback_reason) == ("files", error.message)
    asked = choose.open_source("files", mounts)
    assert (asked.kind, asked.fallback_reason) == ("files", None)
    with pytest.raises(type(error), match=error.message):
        choose.open_source("bpf", mounts)


def test_no_source_at_all_is_the_error_of_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "Loading", Refused(SourceUnavailable("no BCC")))
    with pytest.raises(SourceUnavailable, match=r"cpu\.stat"):
        choose.open_source("auto", [Hierarchy(2, str(tmp_path))])


def test_a_fault_is_not_taken_for_a_reason_to_fall_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "Loading", Refused(TypeError("a fault of ours")))
    with pytest.raises(TypeError):
        choose.open_source("auto", [v2_of_its_own(tmp_path)])


@pytest.mark.parametrize("text", ["", "user_usec 5\n", "usage_usec\n", "usage_usec x\n"])
def test_a_cpu_stat_without_usage_is_not_counted_from(text: str, tmp_path: Path) -> None:
    (tmp_path / "cpu.stat").write_text(text)
    with pytest.raises(SourceUnavailable, match=r"cpu\.stat"):
        FilesSource(Hierarchy(2, str(tmp_path)), [])


def test_v1_without_cpuacct_can_not_be_counted() -> None:
    with pytest.raises(SourceUnavailable, match="cpuacct"):
        FilesSource(Hierarchy(1, "/v1", frozenset({"perf_event"})), [])


def test_v1_is_counted_in_cpuacct_under_the_paths_and_ids_of_perf_event(tmp_path: Path) -> None:
    perf, cpuacct = tmp_path / "perf_event", tmp_path / "cpuacct"
    for folder, usage in ((cpuacct, 700), (cpuacct / "a", 300)):
        folder.mkdir()
        (folder / "cpuacct.usage").write_text(f"{usage}\n")
    (perf / "a").mkdir(parents=True)
    (perf / "only-here").mkdir()
    ranked = Hierarchy(1, str(perf), frozenset({"perf_event"}))
    counted = Hierarchy(1, str(cpuacct), frozenset({"cpuacct"}))
    source = FilesSource(ranked, [counted, ranked])
    taken = source.snapshot()
    used = dict(zip(source.paths(taken.ids.tolist()), taken.cpu_ns.tolist(), strict=True))
    assert used == {"/": 700, "/a": 300}
    assert (perf / "a").stat().st_ino in taken.ids.tolist()
    assert (taken.inclusive, taken.switches) == (True, None)


def folder_with(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_memory_and_lifetime_of_a_v2_cgroup(tmp_path: Path) -> None:
    made = folder_with(
        tmp_path / "a",
        memory__current="1000\n",
        memory__stat="anon 5\ninactive_file 300\n",
        cpu__stat="usage_usec 7\n",
    )
    tree = Hierarchy(2, str(tmp_path))
    assert Files([tree], tree).look("/a") == Seen(made.stat().st_ino, 1000, 700, 7000)


def test_memory_of_a_v1_cgroup_counts_its_descendants_inactive_pages(tmp_path: Path) -> None:
    folder_with(
        tmp_path / "memory" / "a",
        memory__usage_in_bytes="1000\n",
        memory__stat="inactive_file 1\ntotal_inactive_file 300\n",
    )
    folder_with(tmp_path / "cpuacct" / "a", cpuacct__usage="123\n")
    ranked = folder_with(tmp_path / "perf" / "a")
    mounts = [
        Hierarchy(1, str(tmp_path / name), frozenset({name})) for name in ("memory", "cpuacct")
    ]
    seen = Files(mounts, Hierarchy(1, str(tmp_path / "perf"))).look("/a")
    assert seen == Seen(ranked.stat().st_ino, 1000, 700, 123)


def test_what_is_not_measured_is_none_and_not_zero(tmp_path: Path) -> None:
    tree = Hierarchy(2, str(tmp_path))
    made = folder_with(tmp_path / "a")
    assert Files([tree], tree).look("/a") == Seen(made.stat().st_ino)
    folder_with(tmp_path / "b", memory__current="0\n", memory__stat="inactive_file 9\n")
    assert Files([tree], tree).look("/b")[1:3] == (0, 0)
    for nothing in ("/gone", "unknown:5"):
        assert Files([tree], tree).look(nothing) == Seen()


@pytest.mark.parametrize("text", ["max\n", "-1\n", "\n", "\xff\n"])
def test_a_number_that_is_none_is_not_measured(text: str, tmp_path: Path) -> None:
    tree = Hierarchy(2, str(tmp_path))
    folder_with(tmp_path / "a")
    (tmp_path / "a" / "memory.current").write_bytes(text.encode("latin-1"))
    assert Files([tree], tree).look("/a").memory_bytes is None


def test_the_last_path_of_a_removed_cgroup_is_kept_until_it_is_forgotten(tmp_path: Path) -> None:
    places = Places(Hierarchy(2, str(tmp_path)))
    absent = 2**40
    assert places.find([absent]) == [None]
    places.remember(absent, "/was/here")
    assert places.find([absent, absent]) == ["/was/here"] * 2
    places.forget([absent, 5])
    assert places.find([absent]) == [None]
    places.close()
    places.close()


def test_places_hold_one_descriptor_and_give_it_back(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    places = Places(Hierarchy(2, str(tmp_path)))
    assert len(os.listdir("/proc/self/fd")) == len(before) + 1
    places.close()
    assert len(os.listdir("/proc/self/fd")) == len(before)
