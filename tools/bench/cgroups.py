"""Cgroups and processes of a benchmark's own, removed however it ends."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence

from cgbpf.hierarchy import Hierarchy
from tools.bench.common import undisturbed

_PR_SET_PDEATHSIG = 1
_REMOVE_TIMEOUT_S = 5.0
_libc = ctypes.CDLL(None)


class Tree:
    """Cgroups below a name of our own."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.path = f"/cgbpf-bench-{os.getpid()}"
        self._hierarchy = hierarchy
        self._made: list[str] = []

    def make(self, name: str = "") -> str:
        """Makes one cgroup and returns its path."""
        path = f"{self.path}/{name}" if name else self.path
        self._made.append(path)
        os.mkdir(self._hierarchy.directory(path))
        return path

    def containers(self, count: int) -> list[str]:
        """Makes `count` cgroups named as Docker names them."""
        self.make("docker")
        ids = (hashlib.sha256(str(each).encode()).hexdigest() for each in range(count))
        return [self.make(f"docker/{each}") for each in ids]

    def directory(self, path: str) -> str:
        return self._hierarchy.directory(path)

    def remove(self) -> None:
        """Removes all, children first; waits for those whose tasks are exiting."""
        deadline = time.monotonic() + _REMOVE_TIMEOUT_S
        for path in reversed(self._made):
            while True:
                try:
                    os.rmdir(self._hierarchy.directory(path))
                except FileNotFoundError:
                    pass
                except OSError as error:
                    if error.errno != errno.EBUSY or time.monotonic() > deadline:
                        raise
                    time.sleep(0.01)
                    continue
                break


@contextlib.contextmanager
def tree(hierarchy: Hierarchy) -> Iterator[Tree]:
    """A `Tree` that is removed at the end."""
    made = Tree(hierarchy)
    try:
        made.make()
        yield made
    finally:
        with undisturbed():
            made.remove()


def join(directory: str) -> None:
    """Moves this process."""
    with open(f"{directory}/cgroup.procs", "w", encoding="ascii") as file:
        file.write("0")


@contextlib.contextmanager
def process(body: Callable[[], None], directory: str | None = None) -> Iterator[int]:
    """A child that runs `body` in the cgroup `directory`; gives its pid, ends it."""
    parent = os.getpid()
    with undisturbed():
        pid = os.fork()
    if not pid:
        _child(body, directory, parent)
    try:
        yield pid
    finally:
        with undisturbed():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _child(body: Callable[[], None], directory: str | None, parent: int) -> None:
    """What a child does: never returns, and dies with its parent."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            if directory:
                join(directory)
            body()
            code = 0
    finally:
        os._exit(code)


def visit(directories: Sequence[str], spin_s: float) -> None:
    """Lets a child run for `spin_s` in each of `directories`, one after the other."""

    def body() -> None:
        for directory in directories:
            join(directory)
            end = time.perf_counter() + spin_s
            while time.perf_counter() < end:
                pass
            time.sleep(1e-6)  # the switch that charges this cgroup before the next move

    with process(body) as pid:
        _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError(f"could not run in all of {len(directories)} cgroups")


def load(share: float, period_s: float = 0.01) -> Callable[[], None]:
    """The body of a process that uses `share` of a CPU for ever."""

    def body() -> None:
        clock, sleep = time.perf_counter, time.sleep
        while True:
            start = clock()
            while clock() - start < share * period_s:
                pass
            if share < 1:
                sleep(max(0.0, start + period_s - clock()))

    return body
