"""One `perf record`: started, enabled, stopped. The only place that runs it.

perf starts with its events disabled and is told to begin and to end over
`--control` (perf-record(1)), so it is known, not guessed, that it opened every
cgroup. It stands in a process group of its own, so that Ctrl-C reaches only
us, and the kernel ends it if we die (PR_SET_PDEATHSIG, prctl(2)).
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence

from cgbpf.errors import CgbpfError, NotPermitted, OutputRefused, PerfUnusable

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 60.0
_ACK = b"ack\n"

_libc = ctypes.CDLL(None)


class PerfRefused(Exception):
    """perf ended before it recorded anything. `message` is what it said."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class PerfRecord:
    """A running `perf record`, made by `start`."""

    def __init__(self, build: Callable[[tuple[int, int]], Sequence[str]]) -> None:
        """Starts what `build` gives for the two descriptors of --control."""
        command_read, self._command = os.pipe()
        self._ack, ack_write = os.pipe()
        # Not a pipe: nobody reads it while perf runs.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self.argv = list(build((command_read, ack_write)))
        log.debug("running %s", self.argv)
        parent = os.getpid()
        try:
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                pass_fds=[command_read, ack_write],
                env=os.environ | {"LC_ALL": "C"},
                start_new_session=True,
                preexec_fn=lambda: _die_with(parent),
            )
        except OSError as error:
            self.close()
            raise PerfUnusable(
                f"perf can't be run: {error.strerror or error}", "apt install linux-perf"
            ) from error
        finally:
            os.close(command_read)
            os.close(ack_write)

    def enable(self) -> None:
        """Begins recording. Raises PerfRefused if perf ended instead."""
        if not self._tell("enable", _START_TIMEOUT_S):
            code = self.stop()
            raise PerfRefused(self.said() or f"perf ended with code {code}", code)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> int:
        """Ends the recording, waits until its file is whole, returns the exit code."""
        if self.running and not self._tell("stop", 5.0):
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            log.debug("perf does not stop; killing it")
            self._process.kill()
            return self._process.wait()

    def said(self) -> str:
        """What perf printed, without its usage text."""
        self._said.seek(0)
        text = self._said.read().decode(errors="surrogateescape")
        lines = [line.strip() for line in text.partition("\n Usage:")[0].splitlines()]
        noise = ("", "Error:")
        told = [line for line in lines if not (line in noise or line.startswith("[ perf record:"))]
        return "; ".join(told)

    def close(self) -> None:
        """Gives up the descriptors; perf itself must have been stopped."""
        self._said.close()
        for fd in (self._command, self._ack):
            with contextlib.suppress(OSError):
                os.close(fd)

    def _tell(self, command: str, timeout_s: float) -> bool:
        """Gives perf a command; whether it acknowledged it."""
        try:
            os.write(self._command, command.encode() + b"\n")
        except OSError:  # it has ended
            return False
        answer, deadline = b"", time.monotonic() + timeout_s
        while _ACK not in answer:
            # Polled, because perf may end without closing what a child of it holds.
            if select.select([self._ack], [], [], 0.05)[0]:
                part = os.read(self._ack, 64)
                if not part:
                    return False
                answer += part
            elif not self.running or time.monotonic() > deadline:
                return False
        return True


def _die_with(parent: int) -> None:
    """Runs in the child before perf: SIGTERM makes perf end with a whole file."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)


def explain(refused: PerfRefused) -> CgbpfError:
    """A refusal that has nothing to do with a vanished cgroup."""
    lowered = refused.message.lower()
    if any(word in lowered for word in ("permission", "not permitted", "paranoid")):
        return NotPermitted(
            "perf may not record by cgroup without CAP_PERFMON",
            "run as root, or grant it: cgbpf check tells how",
        )
    if "no space left" in lowered or refused.code == -signal.SIGXFSZ:
        return OutputRefused("perf can't write its data: no space left", "name another --output")
    if "too many events" in lowered or "too many open files" in lowered:
        return PerfUnusable(
            "perf needs more open files: one for each cgroup, CPU and event",
            "raise `ulimit -n`, or lower --limit",
        )
    return PerfUnusable(f"perf did not start: {refused.message[:300]}", "see cgbpf check")
