"""The scenario on other kernels, in virtual machines; and that these fail when they should.

CGBPF_KERNELS names the Debian packages whose kernels are booted, with spaces
in between; by default that of the distribution.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kernels.conftest import Tell
from tests.kernels.scenario import wait_until
from tests.kernels.test_here import REPOSITORY
from tools.vm import SETUPS, Kernel, VmFailed, kernel_from, run

PACKAGES = os.environ.get("CGBPF_KERNELS", "linux-image-amd64").split()
PATIENCE_S = 400.0
"""A run takes about a minute where nothing else runs."""

RANKED = {"v2": "v2", "v1": "v1 perf_event", "hybrid": "v1 perf_event"}
VERSIONS = {"v2": {"v2"}, "v1": {"v1"}, "hybrid": {"v1", "v2"}}

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(PATIENCE_S + 120)]


@pytest.fixture(scope="module", params=PACKAGES)
def kernel(request: pytest.FixtureRequest) -> Kernel:
    """Fetched from the archive, if it is not here yet."""
    return kernel_from(request.param)


def scenario(kernel: Kernel, setup: str) -> tuple[dict[str, Any], float]:
    """What it found on `kernel`, and how long the machine was up."""
    outcome = run(
        kernel,
        SETUPS[setup],
        [sys.executable, "-m", "tests.kernels.scenario"],
        folder=REPOSITORY,
        timeout_s=PATIENCE_S,
    )
    assert outcome.exit_code == 0, f"on {kernel.release}, {setup}:\n{outcome.console}"
    return json.loads(outcome.output), outcome.seconds


@pytest.mark.parametrize("setup", SETUPS)
def test_the_scenario_passes(kernel: Kernel, setup: str, tell: Tell) -> None:
    facts, seconds = scenario(kernel, setup)
    tell(f"{kernel.release}, {setup}, {seconds:.0f} s in all", facts)
    assert facts["kernel"] == kernel.release
    assert facts["ranked"] == RANKED[setup]
    assert {each.partition(" ")[0] for each in facts["mounts"]} == VERSIONS[setup]
    if setup == "v2" or counts_memory_in_v1(kernel):
        assert facts["memory_bytes"]
        assert setup == "v2" or "v1 memory" in facts["mounts"]


def counts_memory_in_v1(kernel: Kernel) -> bool:
    """From 6.11 on, that may be left out (CONFIG_MEMCG_V1)."""
    major, minor = kernel.release.split(".")[:2]
    return (int(major), int(minor)) < (6, 11)


def without_modules(kernel: Kernel, folder: Path) -> Kernel:
    """The same kernel, which then finds no root file system."""
    copy = folder / kernel.release
    copy.mkdir()
    shutil.copy(kernel.image, copy)
    return Kernel(copy)


def machines() -> set[str]:
    """The processes that run a machine's files, by their number."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if b"qemu-system" in line and b"cgbpf-vm-" in line:
            found.add(folder.name)
    return found


def test_a_machine_that_does_not_boot_says_what_was_on_its_console(
    kernel: Kernel, tmp_path: Path
) -> None:
    broken = without_modules(kernel, tmp_path)
    with pytest.raises(VmFailed, match=r"(?s)without an answer.*Kernel panic"):
        run(broken, SETUPS["v2"], ["true"], timeout_s=120)


def test_a_machine_that_does_not_answer_in_time_is_taken_away(kernel: Kernel) -> None:
    before = machines()
    with pytest.raises(VmFailed, match="not done after 2 s"):
        run(kernel, SETUPS["v2"], ["sleep", "1000"], timeout_s=2)
    assert machines() <= before


def test_a_killed_run_takes_its_machine_along(kernel: Kernel, tmp_path: Path) -> None:
    package = kernel.folder.parent.name
    before = machines()
    command = [sys.executable, "-m", "tools.vm", "--kernel", package, "v2", "sleep", "1000"]
    env = os.environ | {"TMPDIR": str(tmp_path)}  # what it can't remove any more
    with subprocess.Popen(command, cwd=REPOSITORY, env=env) as process:
        wait_until(lambda: machines() > before, "a machine starts")
        process.kill()
    wait_until(lambda: machines() <= before, "it is gone")


def test_a_command_that_fails_ends_with_its_exit_code_and_words(kernel: Kernel) -> None:
    outcome = run(kernel, SETUPS["v1"], ["sh", "-c", "echo out; echo words >&2; exit 3"])
    assert outcome.exit_code == 3
    assert outcome.output == "out\n"
    assert "words\n" in outcome.console
