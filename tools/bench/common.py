"""What all benchmarks share: turns, spread, claims, and the last line."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

JSON = dict[str, Any]
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Spread(NamedTuple):
    """Median and quartiles of repetitions."""

    median: float
    low: float
    high: float
    repetitions: int

    def json(self) -> JSON:
        return {
            "median": round(self.median, 4),
            "q1": round(self.low, 4),
            "q3": round(self.high, 4),
            "n": self.repetitions,
        }

    def __str__(self) -> str:
        return f"{self.median:9.2f}  ({self.low:.2f} .. {self.high:.2f})"


def spread(values: Sequence[float]) -> Spread:
    """Median, first and third quartile."""
    if len(values) < 2:
        return Spread(values[0], values[0], values[0], len(values))
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high, len(values))


def ratio(of: Sequence[float], to: Sequence[float]) -> Spread:
    """The ratio of two measures taken in turns, one for each repetition."""
    return spread([a / b for a, b in zip(of, to, strict=True)])


class Claims:
    """What is promised, beside what came out."""

    def __init__(self) -> None:
        self.rows: list[JSON] = []

    def at_most(self, claim: str, value: float, limit: float) -> None:
        met = value <= limit
        self.rows.append(
            {"claim": claim, "value": round(value, 4), "limit": round(limit, 4), "met": met}
        )
        print(f"  {'met   ' if met else 'MISSED'} {claim}: {value:.3f}, at most {limit:.3f}")


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds that `function` took, and what it returned."""
    start = time.perf_counter_ns()
    result = function()
    return (time.perf_counter_ns() - start) / 1e6, result


@contextlib.contextmanager
def ends_like_ctrl_c() -> Iterator[None]:
    """SIGTERM and SIGHUP end a benchmark as Ctrl-C does: everything is removed.

    Only the first counts: what is being removed then is removed to the end.
    """

    def handle(number: int, _: FrameType | None) -> None:
        for each in _ENDING:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in _ENDING:
        signal.signal(number, handle)
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Holds back Ctrl-C and its like: for what has to be removed to the end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def benchmark(name: str, body: Callable[[bool, Claims], JSON]) -> None:
    """Runs `body(quick, claims)` and prints its result as the last line."""
    parser = argparse.ArgumentParser(prog=f"python -m tools.bench.{name}")
    parser.add_argument("--quick", action="store_true", help="few repetitions")
    quick: bool = parser.parse_args().quick
    claims = Claims()
    print(f"== {name}", flush=True)
    started = time.monotonic()
    with ends_like_ctrl_c():
        results = body(quick, claims)
    result = {
        "schema": 1,
        "benchmark": name,
        "quick": quick,
        "host": host(),
        "seconds": round(time.monotonic() - started, 1),
        "results": results,
        "claims": claims.rows,
    }
    print(json.dumps(result), flush=True)


def host() -> JSON:
    """The machine and the versions that the figures belong to."""
    return {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "perf": _output(["perf", "--version"]),
        "bcc": _output(["dpkg-query", "-W", "-f", "${Version}", "python3-bpfcc"]),
        "bpf_stats": _text("/proc/sys/kernel/bpf_stats_enabled"),
    }


def _cpu_model() -> str:
    for line in (_text("/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _text(name: str) -> str | None:
    try:
        return Path(name).read_text().strip()
    except OSError:
        return None


def _output(command: list[str]) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def note(text: str) -> None:
    """A line for people."""
    print(text, flush=True)


def online_cpus() -> list[int]:
    """CPUs this process may use, in order."""
    return sorted(os.sched_getaffinity(0))


def command_path() -> str:
    """The `cgbpf` that belongs to this interpreter."""
    return str(Path(sys.executable).with_name("cgbpf"))
