"""What all container hosts have in common."""

from __future__ import annotations

import abc
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from cgbpf.hierarchy import Hierarchy, mounted, perf_hierarchy
from tools.known_load import remove_cgroup

PARENT = "/docker"
"""The cgroup in which Docker's cgroupfs driver makes those of its containers."""

BUSYBOX = "/bin/busybox"
_TIMEOUT_S = 60.0


class HostFailed(Exception):
    """A runtime did not do what it was told; says what it printed."""


@dataclass(frozen=True)
class Container:
    """A container that a host runs."""

    id: str
    """64 hexadecimal digits."""

    @property
    def path(self) -> str:
        """Its cgroup, from the root of every hierarchy."""
        return f"{PARENT}/{self.id}"

    def directories(self) -> list[Path]:
        """Its cgroup's directory in each hierarchy where it is now."""
        everywhere = [Path(each.directory(self.path)) for each in mounted()]
        return [each for each in everywhere if each.is_dir()]

    def pids(self) -> set[int]:
        """Its processes now, as the host numbers them."""
        directory = perf_hierarchy(mounted()).directory(self.path)
        return set(map(int, Path(directory, "cgroup.procs").read_text().split()))


class ContainerHost(abc.ABC):
    """A container runtime of our own, in a folder of its own."""

    needs: ClassVar[tuple[str, ...]]
    """The programs it runs."""

    def __init__(self) -> None:
        self._cleanup = contextlib.ExitStack()
        self.containers: list[Container] = []

    @classmethod
    def missing(cls) -> str | None:
        """Why this host can't run here, None if it can."""
        absent = [each for each in (*cls.needs, BUSYBOX) if shutil.which(each) is None]
        return f"not installed: {', '.join(absent)}" if absent else None

    def __enter__(self) -> ContainerHost:
        with contextlib.ExitStack() as stack:
            # Run last, when no container is left.
            stack.callback(_remove_cgroups, self.containers, _hierarchies_without_parent())
            folder = tempfile.TemporaryDirectory(prefix="cgbpf-host-")
            self.folder = Path(stack.enter_context(folder))
            self.rootfs = self.folder / "rootfs"
            make_rootfs(self.rootfs)
            self._start(stack)
            stack.callback(self._remove_all)
            self._cleanup = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def remove(self, container: Container) -> None:
        """Kills a container and waits until it and its cgroup are gone."""
        self._remove(container)
        for directory in container.directories():
            remove_cgroup(directory)

    def _remove_all(self) -> None:
        with contextlib.ExitStack() as stack:  # one that fails doesn't spare the others
            for container in self.containers:
                stack.callback(self._remove, container)

    @abc.abstractmethod
    def _start(self, stack: contextlib.ExitStack) -> None:
        """Starts what the runtime needs; how to stop it goes on `stack`."""

    @abc.abstractmethod
    def run(self, arguments: Sequence[str]) -> Container:
        """Starts a container with this command line, and returns when it runs.

        It is in `containers` before anything can fail.
        """

    @abc.abstractmethod
    def _remove(self, container: Container) -> None:
        """Kills and deletes it; no error if it is gone."""


def make_rootfs(folder: Path) -> None:
    """A root file system with a shell and busybox's other programs."""
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        (folder / name).mkdir(parents=True)
    shutil.copy2(BUSYBOX, folder / "bin" / "busybox")
    for name in ("sh", "sleep", "usleep"):
        (folder / "bin" / name).symlink_to("busybox")


def run_quietly(command: Sequence[str], env: Mapping[str, str] | None = None) -> str:
    """Runs a command to its end and returns its stdout. Raises HostFailed.

    Output goes to files, because a pipe is held open by what a runtime leaves
    running in the background, and would never end.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        code = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            timeout=_TIMEOUT_S,
            env=None if env is None else os.environ | env,
        ).returncode
        out.seek(0)
        err.seek(0)
        if code:
            raise HostFailed(f"{command[0]} ended with code {code}: {err.read().strip()[:1000]}")
        return out.read()


def _hierarchies_without_parent() -> list[Hierarchy]:
    """Those where `PARENT` is not there yet, so that it will be ours."""
    return [each for each in mounted() if not Path(each.directory(PARENT)).exists()]


def _remove_cgroups(containers: Sequence[Container], ours: Sequence[Hierarchy]) -> None:
    """Removes what the runtimes left: dockerd keeps /docker in every hierarchy."""
    for container in containers:
        for directory in container.directories():
            remove_cgroup(directory)
    for hierarchy in ours:
        with contextlib.suppress(OSError):  # somebody else uses it by now
            Path(hierarchy.directory(PARENT)).rmdir()
