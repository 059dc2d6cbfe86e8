"""Finds the facts that are there to be read; `trials` has those that must be tried."""

from __future__ import annotations

import logging
import os
import platform
import pwd
import resource
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cgbpf import privileges
from cgbpf.check.facts import Facts, Host, Limits, Privileges, Runtimes, Settings, Trees
from cgbpf.errors import SourceUnavailable
from cgbpf.hierarchy import (
    Hierarchy,
    cpu_hierarchy,
    memory_hierarchy,
    mounted,
    perf_hierarchy,
)
from cgbpf.naming.identity import Identity, identify
from cgbpf.perf.names import refusal

log = logging.getLogger(__name__)

# Bits: include/uapi/linux/capability.h. These two are perf's concern alone.
CAPABILITIES = privileges.CAPABILITIES | {"CAP_SYS_PTRACE": 19, "CAP_SYSLOG": 34}

SYSCTLS = (
    "kernel.perf_event_paranoid",
    "kernel.kptr_restrict",
    "kernel.unprivileged_bpf_disabled",
    "kernel.bpf_stats_enabled",
    "kernel.perf_event_mlock_kb",
)
PROGRAMS = ("dockerd", "containerd", "crio", "podman", "runc", "crun", "lxc-start")
SOCKETS = (
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/podman/podman.sock",
    "/run/user/{uid}/docker.sock",
    "/run/user/{uid}/podman/podman.sock",
    "/var/lib/incus/unix.socket",
    "/var/lib/lxd/unix.socket",
)
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where runtimes are, and an ordinary user's PATH does not look."""

_WALK_S = 0.7
"""How long cgroups are counted: a check is to take no more than 3 s."""

Known = TypeVar("Known")


def find_facts() -> Facts:
    """Everything. What can't be found out is a fault in the facts, never an exception."""
    from cgbpf.check import trials

    faults: dict[str, str] = {}

    def known(name: str, probe: Callable[[], Known], otherwise: Known) -> Known:
        begun = time.monotonic()
        try:
            return probe()
        except Exception as error:
            log.debug("%s can't be found out", name, exc_info=True)
            faults[name] = f"{type(error).__name__}: {error}"
            return otherwise
        finally:
            log.debug("%s took %.0f ms", name, 1e3 * (time.monotonic() - begun))

    nothing = Facts()
    perf = known("perf", trials.perf, nothing.perf)
    trees = known("trees", find_trees, nothing.trees)
    return Facts(
        host=known("host", host, nothing.host),
        perf=perf,
        trees=trees,
        sources=known("sources", lambda: trials.sources(trees), nothing.sources),
        trial=known("trial", lambda: trials.trial(perf, trees), nothing.trial),
        runtimes=known("runtimes", runtimes, nothing.runtimes),
        privileges=known("privileges", held, nothing.privileges),
        settings=known("settings", settings, nothing.settings),
        limits=known("limits", limits, nothing.limits),
        faults=faults,
    )


def host() -> Host:
    return Host(
        kernel=platform.release(),
        machine=platform.machine(),
        python=platform.python_version(),
        interpreter=os.path.realpath(sys.executable),
        program=program(sys.argv[0]),
        cpus=os.cpu_count() or 1,
    )


def program(called: str) -> tuple[str, ...]:
    """How to call cgbpf again; `python -m cgbpf` is called by the name of a file."""
    if os.path.basename(called) == "cgbpf":
        return (os.path.abspath(called),)
    return (os.path.abspath(sys.executable), "-m", "cgbpf")


def find_trees() -> Trees:
    """The hierarchies of this host, and the cgroups in the one that perf filters on."""
    mounts = tuple(mounted())
    try:
        ranked = perf_hierarchy(mounts)
    except SourceUnavailable as error:
        return Trees(mounts=mounts, error=error)
    paths, complete = walked(ranked)
    units = {identity.path: identity for identity in map(identify, paths) if identity.is_container}
    return Trees(
        mounts=mounts,
        ranked=ranked,
        cpu=cpu_hierarchy(mounts, ranked),
        memory=memory_of(mounts),
        cgroups=len(paths),
        complete=complete,
        containers=tuple[Identity, ...](units.values()),
        sample=sample(ranked, paths),
    )


def walked(ranked: Hierarchy) -> tuple[list[str], bool]:
    """The paths of all cgroups but the root, and whether there was time for all."""
    end = time.monotonic() + _WALK_S
    found: list[str] = []
    for _, path in ranked.walk():
        if time.monotonic() > end:
            return found, False
        found.append(path)
    return found[1:], True


def memory_of(mounts: tuple[Hierarchy, ...]) -> Hierarchy | None:
    """Where memory is counted; cgroup2 does so only if it has the controller."""
    tree = memory_hierarchy(mounts)
    if tree is None or tree.version == 1:
        return tree
    return tree if "memory" in _words(f"{tree.mount}/cgroup.controllers") else None


def sample(ranked: Hierarchy, paths: list[str]) -> str:
    """A cgroup to try perf on. Our own is there as long as we are."""
    candidates = [own_cgroup(ranked), *paths]
    return next((path for path in candidates if _usable(ranked, path)), "/")


def _usable(ranked: Hierarchy, path: str) -> bool:
    return refusal(path) is None and os.access(ranked.directory(path), os.R_OK)


def own_cgroup(ranked: Hierarchy) -> str:
    """The path of this process's cgroup (cgroups(7), /proc/PID/cgroup)."""
    text = Path("/proc/self/cgroup").read_bytes().decode(errors="surrogateescape")
    for line in text.splitlines():
        number, controllers, path = line.split(":", 2)
        unified_line = number == "0" and not controllers
        if unified_line if ranked.version == 2 else "perf_event" in controllers.split(","):
            return path
    return "/"


def runtimes() -> Runtimes:
    path = f"{os.environ.get('PATH', '')}:{_SBIN}"
    sockets = [each.format(uid=os.getuid()) for each in SOCKETS]
    return Runtimes(
        programs=tuple(each for each in PROGRAMS if shutil.which(each, path=path)),
        sockets=tuple(each for each in sockets if Path(each).is_socket()),
        systemd=_text("/proc/1/comm") == "systemd",
    )


def held() -> Privileges:
    """The capabilities of this process (proc(5), status)."""
    masks = {}
    for line in Path("/proc/self/status").read_text(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name in ("CapEff", "CapBnd"):
            masks[name] = int(value, 16)
    return Privileges(
        held=_capabilities(masks["CapEff"]),
        bounding=_capabilities(masks["CapBnd"]),
        uid=os.getuid(),
        gid=os.getgid(),
        named=any(user.pw_uid == os.getuid() for user in pwd.getpwall()),
    )


def _capabilities(mask: int) -> frozenset[str]:
    return frozenset(name for name, bit in CAPABILITIES.items() if mask >> bit & 1)


def settings() -> Settings:
    return Settings(
        sysctls={name: _text("/proc/sys/" + name.replace(".", "/")) for name in SYSCTLS},
        lockdown=lockdown(_text("/sys/kernel/security/lockdown")),
        kernel_symbols=kernel_symbols(),
    )


def lockdown(text: str | None) -> str | None:
    """The mode in brackets: "none [integrity] confidentiality"."""
    chosen = [word[1:-1] for word in (text or "").split() if word.startswith("[")]
    return chosen[0] if chosen else None


def kernel_symbols() -> bool:
    """Whether addresses are shown: they are zeros where kptr_restrict or
    perf_event_paranoid and a lack of CAP_SYSLOG hide them.
    """
    try:
        with open("/proc/kallsyms", "rb") as file:
            return int(file.readline().split()[0], 16) != 0
    except (OSError, IndexError, ValueError):
        return False


def limits() -> Limits:
    return Limits(
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        locked_bytes=resource.getrlimit(resource.RLIMIT_MEMLOCK)[1],
    )


def _text(name: str) -> str | None:
    try:
        return Path(name).read_text(errors="replace").strip()
    except OSError:
        return None


def _words(name: str) -> list[str]:
    return (_text(name) or "").split()
