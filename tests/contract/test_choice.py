"""`--source`: only auto falls back, once, and says why, where it can be read."""

from __future__ import annotations

import json

import pytest

from cgbpf.errors import NotPermitted
from tests.support.cgroups import CgroupTree
from tests.support.command import cgbpf, for_anybody

pytestmark = pytest.mark.kernel

NOBODY = (*for_anybody(), "setpriv", "--reuid=65534", "--clear-groups")


def with_only(*capabilities: str) -> tuple[str, ...]:
    """An ordinary user who holds these capabilities and no other."""
    if not capabilities:
        return (*NOBODY, "--bounding-set=-all", "--inh-caps=-all")
    held = ",".join(f"+{each}" for each in capabilities)
    return (*NOBODY, f"--inh-caps=-all,{held}", f"--ambient-caps=-all,{held}")


@pytest.fixture
def load(cgroups: CgroupTree) -> CgroupTree:
    cgroups.make("busy").duty(30)
    return cgroups


RANK = ("rank", "--window", "0.3", "--format", "json")


@pytest.mark.parametrize(
    ("capabilities", "missing"),
    [
        ((), "CAP_BPF and CAP_PERFMON"),
        (("bpf",), "CAP_PERFMON"),
        (("perfmon",), "CAP_BPF"),
        (("dac_read_search",), "CAP_BPF and CAP_PERFMON"),
    ],
)
def test_auto_falls_back_without_a_capability_and_says_which(
    capabilities: tuple[str, ...], missing: str, load: CgroupTree
) -> None:
    done = cgbpf(*RANK, prefix=with_only(*capabilities))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    reason = f"the BPF source needs {missing}"
    assert (found["source"], found["fallback_reason"]) == ("files", reason)
    assert done.stderr == f"cgbpf: counting from the kernel's files: {reason}\n"
    assert f"{load.root.path}/busy" in [each["path"] for each in found["cgroups"]]
    assert found["host"]["probe"] is None


@pytest.mark.parametrize("capabilities", [(), ("bpf",), ("perfmon",)])
def test_bpf_never_falls_back(capabilities: tuple[str, ...]) -> None:
    done = cgbpf(*RANK, "--source", "bpf", prefix=with_only(*capabilities))
    assert (done.returncode, done.stdout) == (NotPermitted.exit_code, "")
    assert done.stderr.startswith("cgbpf: the BPF source needs CAP_")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("capabilities", [("bpf", "perfmon"), ("sys_admin",)])
def test_bpf_needs_no_root_but_two_capabilities(
    capabilities: tuple[str, ...], load: CgroupTree
) -> None:
    """And no CAP_DAC_READ_SEARCH: then ids are found by walking."""
    done = cgbpf(*RANK, prefix=with_only(*capabilities))
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["source"], found["fallback_reason"]) == ("bpf", None)
    assert f"{load.root.path}/busy" in [each["path"] for each in found["cgroups"]]


def test_files_is_no_fallback_and_needs_nothing(load: CgroupTree) -> None:
    done = cgbpf(*RANK, "--source", "files", prefix=with_only())
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["source"], found["fallback_reason"]) == ("files", None)
    assert f"{load.root.path}/busy" in [each["path"] for each in found["cgroups"]]


def test_as_root_auto_is_bpf_and_says_nothing(load: CgroupTree) -> None:
    done = cgbpf(*RANK)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["source"], found["fallback_reason"]) == ("bpf", None)
    assert found["host"]["probe"]["lost"] == 0
    busy = next(each for each in found["cgroups"] if each["name"] == "busy")
    assert busy["switches"] > 0
    assert busy["alive"]
