"""From id to path to whatever is shown, for every name the kernel lets a cgroup have."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cgbpf.hierarchy import Hierarchy
from cgbpf.naming.handles import HandleRefused, Handles
from cgbpf.naming.places import Places
from tests.support.cgroups import CgroupTree
from tests.support.command import cgbpf

HOSTILE = {
    "comma": "a,b",
    "space": "a b",
    "quotes": "a'b\"c",
    "dollar": "$(touch x)`y`;&|",
    "option": "-G",
    "formula": "=1+1",
    "escape sequence": "a\x1b[31mb",
    "tab and return": "a\tb\rc",
    "right-to-left": "a\u202eb",
    "emoji": "\U0001f525",
    "invalid UTF-8": "a\udcff\udc80b",
    "brackets": "[red]x[/red]"[:5],
    "deleted": "a (deleted)",
    "backslash": "a\\012b",
    "longest": "x" * 255,
}


def test_an_id_gives_the_same_path_by_handle_as_by_walking(
    hierarchy: Hierarchy, cgroups: CgroupTree
) -> None:
    for name in HOSTILE.values():
        cgroups.make(f"{name}/inner")
    ours = {
        number: path
        for number, path in hierarchy.walk()
        if path == "/" or path.startswith(cgroups.root.path)
    }
    assert len(ours) == 2 + 2 * len(HOSTILE)
    handles = Handles(hierarchy)
    try:
        assert {number: handles.path(number) for number in ours} == ours
    finally:
        handles.close()


def test_a_removed_cgroup_has_no_handle(hierarchy: Hierarchy, cgroups: CgroupTree) -> None:
    gone = cgroups.make("gone")
    number = gone.id
    handles = Handles(hierarchy)
    try:
        assert handles.path(number) == gone.path
        gone.remove()
        assert handles.path(number) is None
        cgroups.make("gone")
        assert handles.path(number) is None, "the new one of that name is another"
    finally:
        handles.close()


def test_where_handles_are_refused_the_tree_is_walked(
    hierarchy: Hierarchy, cgroups: CgroupTree
) -> None:
    """As an ordinary user, who has no CAP_DAC_READ_SEARCH."""
    child = cgroups.make("parent/child")
    script = (
        "import sys\nfrom cgbpf.hierarchy import mounted, perf_hierarchy\n"
        "from cgbpf.naming.handles import Handles, HandleRefused\n"
        "from cgbpf.naming.places import Places\n"
        "tree, number = perf_hierarchy(mounted()), int(sys.argv[1])\n"
        "try:\n    Handles(tree).path(number)\nexcept HandleRefused:\n    print('refused')\n"
        "print(Places(tree).find([number, 2**50]))"
    )
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all",
         sys.executable, "-c", script, str(child.id)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"refused\n['{child.path}', None]\n"


def test_a_refusal_gives_the_descriptor_back_and_is_asked_only_once(
    hierarchy: Hierarchy, cgroups: CgroupTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(self: Handles, cgroup_id: int) -> str | None:
        asked.append(cgroup_id)
        raise HandleRefused(os.strerror(errno.EPERM))

    child = cgroups.make("child")
    before = len(os.listdir("/proc/self/fd"))
    places = Places(hierarchy)
    monkeypatch.setattr(Handles, "path", refuse)
    assert places.find([1, child.id]) == ["/", child.path]
    assert places.find([cgroups.root.id]) == [cgroups.root.path]
    assert len(asked) == 1
    assert len(os.listdir("/proc/self/fd")) == before
    places.close()


def test_the_kernel_itself_refuses_a_newline_in_a_name(cgroups: CgroupTree) -> None:
    """The one hostile name that no cgroup can have; the unit tests cover it all the same."""
    with pytest.raises(OSError, match="Invalid argument"):
        cgroups.make("a\nb")


@pytest.fixture
def crowd(cgroups: CgroupTree) -> CgroupTree:
    for name in HOSTILE.values():
        cgroups.make(name).duty(5)
    return cgroups


def rank(tree: CgroupTree, form: str, *words: str) -> str:
    done = cgbpf(
        "rank", "--source", "bpf", "--window", "0.5", "--limit", "50", "--level", "leaf",
        "--include", f"{tree.root.path}/*", "--format", form, *words,
    )  # fmt: skip
    left_out = f"cgbpf: left out {tree.root.path}/a,b: perf can't take a name with a comma\n"
    assert (done.returncode, done.stderr) == (0, left_out if form == "perf" else "")
    return done.stdout


def test_hostile_names_survive_the_whole_way_to_json(crowd: CgroupTree) -> None:
    found = json.loads(rank(crowd, "json"))["cgroups"]
    expected = {f"{crowd.root.path}/{name}" for name in HOSTILE.values()}
    expected = {path.replace("\udcff\udc80", "\\xff\\x80") for path in expected}
    assert {each["path"] for each in found} == expected
    assert all(each["alive"] for each in found)
    # perf can't take the one; JSON can't hold the other's bytes.
    refused = {each["name"] for each in found if each["perf_cgroup"] is None}
    assert refused == {"a,b", "a\\xff\\x80b"}


def test_hostile_names_survive_the_whole_way_to_csv_and_the_table(crowd: CgroupTree) -> None:
    records = list(csv.DictReader(io.StringIO(rank(crowd, "csv"))))
    assert len(records) == len(HOSTILE)
    names = {each["name"] for each in records}
    assert {"a,b", "a\\x1b[31mb", "a\\xff\\x80b", "\U0001f525", "'=1+1", "'-G"} <= names
    table = rank(crowd, "table")
    assert "\x1b" not in table
    assert f"{crowd.root.path}/a\\xff\\x80b" in table


def test_hostile_names_reach_perf_through_a_shell(crowd: CgroupTree, tmp_path: Path) -> None:
    line = rank(crowd, "perf").rstrip("\n")
    words = shlex.split(line)
    given = {words[at + 1] for at, word in enumerate(words[:-1]) if word == "-G"}
    root = crowd.root.path[1:]
    assert {f"{root}/{name}" for name in HOSTILE.values() if "," not in name} <= given
    done = subprocess.run(
        ["sh", "-c", 'eval "perf record -a -o perf.data $1 -- true"', "sh", line],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "perf.data").exists()
    assert not (tmp_path / "x").exists()


def test_plain_names_need_no_eval(cgroups: CgroupTree, tmp_path: Path) -> None:
    cgroups.make("plain-1.scope").duty(20)
    command = (
        f"perf record -a -o perf.data $({sys.executable} -m cgbpf rank --window 0.3 "
        f"--include '{cgroups.root.path}/*' --format perf) -- sleep 0.2"
    )
    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    events = subprocess.run(
        ["perf", "evlist", "-i", "perf.data"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert events.splitlines()[0].startswith("cg0:plain-1.scope:")


def test_many_siblings_are_all_found(hierarchy: Hierarchy, cgroups: CgroupTree) -> None:
    """Where there are many, their folder is listed instead; the result may not show it."""
    made = [cgroups.make(f"folder/{number}") for number in range(80)]
    made += [cgroups.make(f"folder/{number}/inner") for number in range(40)]
    made += [cgroups.make(f"lone-{number}") for number in range(3)]
    gone = cgroups.make("folder/gone")
    ids = {each.id: each.path for each in made}
    absent = gone.id
    gone.remove()
    places = Places(hierarchy)
    try:
        assert places.find([absent, *ids, 1]) == [None, *ids.values(), "/"]
    finally:
        places.close()
