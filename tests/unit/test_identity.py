"""Paths as the runtimes write them, and what a person calls them."""

from __future__ import annotations

import pytest

from cgbpf.naming.identity import CONTAINER_KINDS, identify

A = "0123456789abcdef" * 4
B = "fedcba9876543210" * 4
SHORT = A[:12]
POD = "pod8b1d3f5e_0e2c_4d4c_9a35_1f2e3d4c5b6a"
SLICE = f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-{POD}.slice"

CONTAINERS = [
    # docker, cgroupfs and systemd drivers, and what lives inside a container
    (f"/docker/{A}", f"/docker/{A}", "docker"),
    (f"/docker/{A}/init", f"/docker/{A}", "docker"),
    (f"/docker/{A}/docker/{B}", f"/docker/{A}", "docker"),
    (f"/docker/{A}/system.slice/sshd.service", f"/docker/{A}", "docker"),
    (f"/system.slice/docker-{A}.scope", f"/system.slice/docker-{A}.scope", "docker"),
    (f"/system.slice/docker-{A}.scope/init.scope", f"/system.slice/docker-{A}.scope", "docker"),
    (f"/user.slice/my.service/docker-{A}.scope", f"/user.slice/my.service/docker-{A}.scope",
     "docker"),
    # Kubernetes
    (f"/kubepods/besteffort/{POD}/{A}", f"/kubepods/besteffort/{POD}/{A}", "container"),
    (f"/kubepods/{POD}/{A}/sub", f"/kubepods/{POD}/{A}", "container"),
    (f"{SLICE}/cri-containerd-{A}.scope", f"{SLICE}/cri-containerd-{A}.scope", "containerd"),
    (f"{SLICE}/crio-{A}.scope", f"{SLICE}/crio-{A}.scope", "crio"),
    (f"{SLICE}/crio-{A}.scope/container", f"{SLICE}/crio-{A}.scope", "crio"),
    (f"{SLICE}/docker-{A}.scope", f"{SLICE}/docker-{A}.scope", "docker"),
    (f"/system.slice/containerd.service/kubepods-x.slice:cri-containerd:{A}",
     f"/system.slice/containerd.service/kubepods-x.slice:cri-containerd:{A}", "containerd"),
    # containerd, podman, and a runtime that says nothing of itself
    (f"/k8s.io/{A}", f"/k8s.io/{A}", "containerd"),
    (f"/system.slice/nerdctl-{A}.scope", f"/system.slice/nerdctl-{A}.scope", "containerd"),
    (f"/libpod_parent/libpod-{A}", f"/libpod_parent/libpod-{A}", "podman"),
    (f"/machine.slice/libpod-{A}.scope/container", f"/machine.slice/libpod-{A}.scope", "podman"),
    (f"/actions_job/{A}", f"/actions_job/{A}", "container"),
    (f"/{A}", f"/{A}", "container"),
]  # fmt: skip

USER = "/user.slice/user-1000.slice"
OTHERS = [
    ("/system.slice/sshd.service", "/system.slice/sshd.service", "sshd.service", "service"),
    ("/system.slice/a.service/worker", "/system.slice/a.service", "a.service", "service"),
    (f"{USER}/session-3.scope", f"{USER}/session-3.scope", "session-3.scope", "session"),
    (f"{USER}/user@1000.service/app.slice/x.service",
     f"{USER}/user@1000.service/app.slice/x.service", "x.service", "service"),
    ("/init.scope", "/init.scope", "init.scope", "scope"),
    (f"/machine.slice/libpod-conmon-{A}.scope", f"/machine.slice/libpod-conmon-{A}.scope",
     f"libpod-conmon-{A}.scope", "scope"),
    ("/user.slice", "/user.slice", "user.slice", "cgroup"),
    ("/lxc/web", "/lxc/web", "web", "cgroup"),
    ("/", "/", "/", "cgroup"),
    # nearly, but not, a container id
    (f"/docker/{A[:-1]}", f"/docker/{A[:-1]}", A[:-1], "cgroup"),
    (f"/docker/{A}0", f"/docker/{A}0", f"{A}0", "cgroup"),
    (f"/docker/{A.upper()}", f"/docker/{A.upper()}", A.upper(), "cgroup"),
    (f"/xdocker-{A}.scopes", f"/xdocker-{A}.scopes", f"xdocker-{A}.scopes", "cgroup"),
    (f"/docker/{A}\n", f"/docker/{A}\n", f"{A}\n", "cgroup"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "unit", "kind"), CONTAINERS)
def test_a_container_is_known_by_its_short_id(path: str, unit: str, kind: str) -> None:
    found = identify(path)
    assert found == (unit, SHORT, kind)
    assert found.is_container
    assert kind in CONTAINER_KINDS


@pytest.mark.parametrize(("path", "unit", "name", "kind"), OTHERS)
def test_what_is_no_container_is_its_service_or_itself(
    path: str, unit: str, name: str, kind: str
) -> None:
    found = identify(path)
    assert found == (unit, name, kind)
    assert not found.is_container


def test_a_unit_is_its_path_or_an_ancestor_and_its_own_unit() -> None:
    for path in [each[0] for each in CONTAINERS] + [each[0] for each in OTHERS]:
        unit = identify(path).path
        assert path == unit or path.startswith(f"{unit}/")
        assert identify(unit).path == unit


def test_an_id_whose_path_was_never_seen_is_a_unit_of_its_own() -> None:
    assert identify("unknown:4711") == ("unknown:4711", "unknown:4711", "cgroup")
