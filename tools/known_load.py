#!/usr/bin/env python3
"""Known loads: so much of one CPU, in a cgroup of their own, in a known function.

    tools/known_load.py /docker/example --percent 30 --duration 10

makes that cgroup, uses about 30 % of a CPU in it for 10 seconds, and takes
it away again; without a cgroup it burns in the one it is started in. Tests
and the demo import `Cgroup`, `Load` and `shell_loop`.

The work is a checksum, because zlib exports the function that does it:
perf shows `crc32_z` (or `adler32_z`) by name on a host that has neither debug
symbols nor a compiler.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cgbpf.errors import CgbpfError
from cgbpf.hierarchy import Hierarchy, cpu_hierarchy, memory_hierarchy, mounted, perf_hierarchy

HOT_FUNCTIONS = {"crc32": "crc32_z", "adler32": "adler32_z"}
"""What burns, and the symbol that perf shows for it."""

PERIOD_S = 0.02
_CHUNK = bytes(1 << 16)
"""25 us of work: a share of 3 % in a period is 24 of them."""

_PATIENCE_S = 10.0
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_libc = ctypes.CDLL(None)

_SHELL_LOOP = """
percent=$1
clock() {
    read -r now rest < /proc/uptime
    now=${now%.*}${now#*.}
    read -r stat < /proc/self/stat
    set -- $stat
    cpu=$((${14} + ${15} + ${16} + ${17}))
}
begin() { clock; now0=$now; cpu0=$cpu; }
begin
while :; do
    clock
    behind=$(((now - now0) * percent - (cpu - cpu0) * 100))
    if [ $behind -gt 2000 ]; then
        begin
    elif [ $behind -gt 0 ]; then
        i=0
        while [ $i -lt 500 ]; do i=$((i + 1)); done
    else
        usleep 50000
    fi
done
"""
"""Compares its own CPU time with the time passed, both in 1/100 s (proc(5)). What
it could not get in time is not caught up: it stays below its share."""


def counted_hierarchies(mounts: Sequence[Hierarchy]) -> list[Hierarchy]:
    """The hierarchies that cgbpf reads of: the one perf filters on, CPU, memory.

    A container runtime makes its cgroup in every one there is; these are enough.
    """
    ranked = perf_hierarchy(mounts)
    wanted = (ranked, cpu_hierarchy(mounts, ranked), memory_hierarchy(mounts))
    return list({each.mount: each for each in wanted if each is not None}.values())


class Cgroup:
    """A cgroup of our own: made with its parents, removed with those it had to make."""

    def __init__(self, path: str, hierarchies: Iterable[Hierarchy] | None = None) -> None:
        """`path` is from each hierarchy's root, with a leading slash."""
        self.path = path
        chosen = counted_hierarchies(mounted()) if hierarchies is None else hierarchies
        self.directories = [Path(each.directory(path)) for each in chosen]
        self._made: list[Path] = []

    def __enter__(self) -> Cgroup:
        try:
            for directory in self.directories:
                self._make(directory)
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _make(self, directory: Path) -> None:
        """Makes a directory that must be new, and what is missing above it."""
        missing = [each for each in directory.parents if not each.exists()]
        for parent in reversed(missing):
            # Somebody else may make /docker at the same time: then it is theirs.
            with contextlib.suppress(FileExistsError):
                parent.mkdir()
                self._made.append(parent)
        directory.mkdir()
        self._made.append(directory)

    def remove(self) -> None:
        """Removes what it made, the deepest first; a parent in use by others stays."""
        while self._made:
            directory = self._made.pop()
            if directory in self.directories:
                remove_cgroup(directory)
            else:
                with contextlib.suppress(OSError):
                    directory.rmdir()


def remove_cgroup(directory: Path, patience_s: float = _PATIENCE_S) -> None:
    """Removes one cgroup as soon as the kernel lets go of it; none there is no error.

    A killed process is a member until it has ended: rmdir says EBUSY so long.
    """
    end = time.monotonic() + patience_s
    while True:
        try:
            directory.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


class Load:
    """A process that uses `percent` of one CPU in the cgroups given.

    It is a member from its first instruction on, so no sample of it is
    elsewhere, and ends with the process that started it, however that ends.
    """

    def __init__(
        self,
        percent: float,
        directories: Sequence[Path] = (),
        name: str = "known-load",
        function: str = "crc32",
    ) -> None:
        """`name` (15 bytes) is what perf and ps call the process."""
        self.percent = percent
        parent = os.getpid()
        self._process = subprocess.Popen(
            [
                sys.executable, __file__, "--percent", str(percent),
                "--name", name, "--function", function,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # Ctrl-C is for who started it, who then ends it.
            start_new_session=True,
            preexec_fn=lambda: _enter(directories, parent),
        )  # fmt: skip

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self, timeout_s: float) -> None:
        """Waits until it ends, at most `timeout_s`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)

    def stop(self) -> None:
        """Ends it and waits until it is gone. Safe to call twice."""
        if self.running:
            self._process.kill()
        self._process.wait(_PATIENCE_S)


def _enter(directories: Sequence[Path], parent: int) -> None:
    """Runs in the child before it is a load: dies with its parent, joins its cgroups."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    for directory in directories:
        (directory / "cgroup.procs").write_text("0")


def shell_loop(percent: float) -> list[str]:
    """The same load for a container that has nothing but a POSIX shell and usleep."""
    if percent >= 100:
        return ["sh", "-c", "while :; do :; done"]
    return ["sh", "-c", _SHELL_LOOP, "sh", str(round(percent))]


def burn(percent: float, function: str, seconds: float) -> None:
    """Uses `percent` of one CPU for `seconds` from now on."""
    work = getattr(zlib, function)
    begun = time.monotonic()
    end = begun + seconds
    while begun < end:
        enough = time.thread_time() + PERIOD_S * percent / 100
        while time.thread_time() < enough:
            work(_CHUNK)
        # What a loaded machine kept from us is not caught up.
        begun = max(begun + PERIOD_S, time.monotonic())
        time.sleep(max(0.0, begun - time.monotonic()))


@contextlib.contextmanager
def interrupted_once() -> Iterator[None]:
    """Lets SIGTERM and SIGHUP unwind as Ctrl-C does, so that what was made is removed.

    Only the first counts: an impatient second Ctrl-C must not end the clean-up.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def end(*_: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    former = [signal.signal(number, end) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, former, strict=True):
            signal.signal(number, handler)


def _share(text: str) -> float:
    percent = float(text)
    if not 0 < percent <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and up to 100")
    return percent


def _seconds(text: str) -> float:
    seconds = float(text)
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return seconds


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Uses a known share of one CPU in a cgroup.")
    parser.add_argument("cgroup", nargs="?", help="made and removed; none: where it is started")
    parser.add_argument("--percent", type=_share, default=100.0, help="of one CPU (100)")
    parser.add_argument("--duration", type=_seconds, default=float("inf"), help="seconds (no end)")
    parser.add_argument("--name", default="known-load", help="what perf and ps call it")
    parser.add_argument("--function", choices=HOT_FUNCTIONS, default="crc32", help="what burns")
    return parser.parse_args()


def main() -> int:
    """The command."""
    asked = _arguments()
    if asked.cgroup is None:
        _libc.prctl(_PR_SET_NAME, asked.name.encode())
        burn(asked.percent, asked.function, asked.duration)
        return 0
    try:
        with (
            interrupted_once(),
            Cgroup("/" + asked.cgroup.strip("/")) as cgroup,
            Load(asked.percent, cgroup.directories, asked.name, asked.function) as load,
        ):
            print(f"{asked.percent:g} % of a CPU in {cgroup.path}, process {load.pid}", flush=True)
            load.wait(asked.duration)
    except (OSError, CgbpfError) as error:
        print(f"known_load: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
