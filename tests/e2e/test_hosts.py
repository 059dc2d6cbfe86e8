"""The tests' own container hosts: they leave nothing, and touch nothing else's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cgbpf.hierarchy import mounted
from tests.e2e.conftest import HOSTS, usable
from tools.known_load import shell_loop
from tools.test_hosts import ContainerHost

pytestmark = pytest.mark.e2e


def cgroups_of_the_machine() -> set[str]:
    """The uppermost cgroups of every hierarchy, but for those that tests make."""
    return {
        entry.path
        for each in mounted()
        for entry in os.scandir(each.mount)
        if entry.is_dir() and not entry.name.startswith("cgbpf")
    }


def processes_naming(text: str) -> list[str]:
    """The command lines of running processes that mention `text`."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line:
            found.append(line)
    return found


@pytest.mark.parametrize("kind", HOSTS)
def test_leaves_nothing_behind(kind: type[ContainerHost]) -> None:
    before = cgroups_of_the_machine()
    with usable(kind)() as host:
        removed, left = host.run(shell_loop(50)), host.run(shell_loop(50))
        pids = removed.pids() | left.pids()
        folder = host.folder
        host.remove(removed)
        assert not removed.directories()
        assert left.directories()

    assert len(pids) >= 2
    assert not [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()]
    assert not left.directories()
    assert not folder.exists()
    assert processes_naming(str(folder)) == []
    assert processes_naming(left.id) == []
    assert str(folder) not in Path("/proc/self/mountinfo").read_text()
    assert cgroups_of_the_machine() == before
