"""The scenario on this machine's own kernel, with its cgroups mounted as they are."""

from __future__ import annotations

import contextlib
import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cgbpf.hierarchy import mounted, perf_hierarchy, v1_controllers
from tests.kernels.conftest import Tell
from tests.kernels.scenario import name_of

REPOSITORY = Path(__file__).parents[2]


pytestmark = pytest.mark.kernel


def test_the_scenario_passes(tell: Tell) -> None:
    facts = scenario()
    tell("this machine", facts)
    assert facts["ranked"] == name_of(perf_hierarchy(mounted()))


def test_the_scenario_passes_with_perf_event_on_v1(tell: Tell, tmp_path: Path) -> None:
    """As on a v1 host: perf then looks names up there, whatever else is mounted."""
    if v1_controllers()["perf_event"][0]:
        return  # it is so already: then the test above was this one
    with perf_event_on_v1(tmp_path / "perf_event"):
        facts = scenario()
    tell("this machine, perf_event on v1", facts)
    assert facts["ranked"] == "v1 perf_event"


@contextlib.contextmanager
def perf_event_on_v1(folder: Path) -> Iterator[None]:
    """Takes perf_event from cgroup2, kernel-wide, and gives it back whatever happens.

    An unmount right after an rmdir leaves the hierarchy bound, with no mount to
    be seen: then it takes another mount and unmount to let go of it.
    """
    if v1_controllers()["perf_event"][0]:
        yield  # as this host has it
        return
    folder.mkdir()
    mount(folder)
    try:
        yield
    finally:
        unmount(folder)
        for _ in range(20):
            if released():
                break
            mount(folder)
            time.sleep(0.5)
            unmount(folder)
        assert released(), "perf_event is still bound to v1: mount and unmount it again"


def released() -> bool:
    """Whether cgroup2 has perf_event back: the kernel takes a moment for that."""
    for _ in range(40):
        if v1_controllers()["perf_event"][0] == 0:
            return True
        time.sleep(0.05)
    return False


def mount(folder: Path) -> None:
    subprocess.run(["mount", "-t", "cgroup", "-o", "perf_event", "none", folder], check=True)


def unmount(folder: Path) -> None:
    subprocess.run(["umount", folder], check=True)


def scenario() -> dict[str, Any]:
    """What the scenario found on this machine, as its cgroups are mounted now."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.scenario"],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    assert facts["kernel"] == platform.release()
    return facts
