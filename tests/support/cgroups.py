"""Cgroups and known loads for tests, all below a name of their own.

Nothing that was there before is touched: only cgroups that a `CgroupTree` made
are removed, and only processes that it started, or that live in its cgroups,
are killed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cgbpf.hierarchy import Hierarchy

_numbers = itertools.count(1)
_PATIENCE_S = 10.0

# Both end with their parent: a killed pytest leaves no load behind.
_DUTY = """
import ctypes, sys, time
ctypes.CDLL(None).prctl(1, 9)
busy_s, period_s = float(sys.argv[1]) / 1e3, float(sys.argv[2]) / 1e3
begun = time.monotonic()
while True:
    end = time.thread_time() + busy_s
    while time.thread_time() < end:
        pass
    begun = max(begun + period_s, time.monotonic())
    time.sleep(max(0.0, begun - time.monotonic()))
"""
_SPIN = """
import ctypes
ctypes.CDLL(None).prctl(1, 9)
while True:
    pass
"""
_BRIEF = """
import sys, time
end = time.thread_time() + float(sys.argv[1]) / 1e3
while time.thread_time() < end:
    pass
"""


@dataclass
class Load:
    """A process that a test started in a cgroup."""

    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait(self, timeout_s: float = _PATIENCE_S) -> int:
        return self.process.wait(timeout_s)

    def stop(self) -> None:
        """Kills it and waits until it is gone. Safe to call twice."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(_PATIENCE_S)


@dataclass
class Cgroup:
    """One cgroup that a test made."""

    hierarchy: Hierarchy
    path: str
    """From the hierarchy's root, with a leading slash, as `Row.path`."""
    loads: list[Load] = field(default_factory=list)

    @property
    def directory(self) -> Path:
        return Path(self.hierarchy.directory(self.path))

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def id(self) -> int:
        return os.stat(self.directory).st_ino

    def run(self, argv: Sequence[str], cpu: int | None = None) -> Load:
        """Starts `argv` in this cgroup (on `cpu` only, if given)."""
        procs = str(self.directory / "cgroup.procs")

        def enter() -> None:
            if cpu is not None:
                os.sched_setaffinity(0, {cpu})
            with open(procs, "w") as file:
                file.write("0")

        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, preexec_fn=enter
        )
        load = Load(process)
        self.loads.append(load)
        return load

    def spin(self, cpu: int | None = None) -> Load:
        """A busy loop, without end."""
        return self.run(_python(_SPIN), cpu)

    def duty(self, percent: float, cpu: int | None = None, period_ms: float = 10.0) -> Load:
        """Busy for `percent` of each period: of CPU time, as long as it gets any."""
        return self.run(_python(_DUTY, percent * period_ms / 100, period_ms), cpu)

    def brief(self, cpu_ms: float, cpu: int | None = None) -> Load:
        """Burns `cpu_ms` of CPU (and what its start costs), then ends by itself."""
        return self.run(_python(_BRIEF, cpu_ms), cpu)

    def adopt(self, pid: int) -> None:
        """Moves a process here."""
        (self.directory / "cgroup.procs").write_text(str(pid))

    def usage_ns(self) -> int:
        """The kernel's own count, descendants included. cgroup2 only."""
        text = (self.directory / "cpu.stat").read_text()
        return int(dict(line.split() for line in text.splitlines())["usage_usec"]) * 1000

    def remove(self) -> None:
        """Ends its loads and removes it, as soon as the kernel lets go of it."""
        for load in self.loads:
            load.stop()
        _remove(self.directory)


class CgroupTree:
    """Makes cgroups below `/cgbpf-test-PID-N`, and removes them all by `close`."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.hierarchy = hierarchy
        self._made: list[Cgroup] = []
        self.root = self._new(f"/cgbpf-test-{os.getpid()}-{next(_numbers)}")

    def make(self, name: str) -> Cgroup:
        """The cgroup `name` below this tree's own; "a/b" makes a and b."""
        path, cgroup = self.root.path, self.root
        for part in name.split("/"):
            path = f"{path}/{part}"
            known = next((each for each in self._made if each.path == path), None)
            there = known is not None and known.directory.is_dir()
            cgroup = known if known is not None and there else self._new(path)
        return cgroup

    def close(self) -> None:
        """Ends and removes everything, deepest first. Raises if something stays."""
        for cgroup in self._made:
            for load in cgroup.loads:
                load.stop()
        if not self.root.directory.is_dir():
            return
        with contextlib.suppress(OSError):
            (self.root.directory / "cgroup.kill").write_text("1")
        for folder, _, _ in os.walk(self.root.directory, topdown=False):
            _kill_members(Path(folder))
            _remove(Path(folder))

    def _new(self, path: str) -> Cgroup:
        cgroup = Cgroup(self.hierarchy, path)
        cgroup.directory.mkdir()
        self._made.append(cgroup)
        return cgroup


def _python(script: str, *arguments: float) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", script, *map(str, arguments)]


def _kill_members(folder: Path) -> None:
    """For v1, which has no cgroup.kill: what a load of ours has forked."""
    with contextlib.suppress(OSError):
        for pid in (folder / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


def _remove(folder: Path) -> None:
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:  # EBUSY: a killed process has not ended yet
            if time.monotonic() > end:
                raise
            time.sleep(0.005)
