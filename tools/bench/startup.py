"""Time to the first answer: `cgbpf --help` and `cgbpf rank`, beside the bare interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
import time

from cgbpf.hierarchy import mounted, perf_hierarchy
from tools.bench.cgroups import load, process, tree
from tools.bench.common import (
    JSON,
    Claims,
    benchmark,
    command_path,
    note,
    ratio,
    spread,
    timed,
)

WINDOW_S = 0.5
RANK = [command_path(), "rank", "--window", str(WINDOW_S)]
COMMANDS = {
    "interpreter": [sys.executable, "-c", "pass"],
    "help": [command_path(), "--help"],
    "rank_bpf": [*RANK, "--source", "bpf", "--format", "json"],
    "rank_bpf_table": [*RANK, "--source", "bpf"],
    "rank_files": [*RANK, "--source", "files", "--format", "json"],
}


def run_ms(name: str) -> float:
    """Milliseconds that a command takes, its window not counted."""
    took, _ = timed(lambda: subprocess.run(COMMANDS[name], check=True, capture_output=True))
    return took - (WINDOW_S * 1000 if name.startswith("rank") else 0)


def in_turns(repetitions: int) -> dict[str, list[float]]:
    """All commands, the short ones four times as often."""
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for turn in range(4 * repetitions):
        for name, each in found.items():
            if turn % 4 == 0 or not name.startswith("rank"):
                each.append(run_ms(name))
    return found


def steps(what: str, repetitions: int) -> dict[str, float]:
    """Median milliseconds of each step of `timeline`."""
    found: dict[str, list[float]] = {}
    for _ in range(repetitions):
        started = time.monotonic_ns()
        command = [sys.executable, "-m", "tools.bench.timeline", what, str(started)]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        for name, took in json.loads(text.splitlines()[-1]).items():
            found.setdefault(name, []).append(took)
    return {name: round(spread(each).median, 2) for name, each in found.items()}


def body(quick: bool, claims: Claims) -> JSON:
    repetitions = 2 if quick else 8
    hierarchy = perf_hierarchy(mounted())
    with tree(hierarchy) as ours, process(load(0.05), ours.directory(ours.make("load"))):
        times = in_turns(repetitions)
        timelines = {what: steps(what, repetitions) for what in ("rank", "loader")}
    note("ms: median (quartiles); rank without its window")
    for name, each in times.items():
        note(f"  {name:16} {spread(each)}")
    for what, parts in timelines.items():
        note(f"  {what}: " + ", ".join(f"{name} {took:.0f}" for name, took in parts.items()))
    to_interpreter = ratio(times["help"], times["interpreter"])
    claims.at_most("--help, to the bare interpreter", to_interpreter.median, 4)
    claims.at_most("rank from BPF without its window, ms", spread(times["rank_bpf"]).median, 600)
    return {
        "ms": {name: spread(each).json() for name, each in times.items()},
        "ratio": {"help_to_interpreter": to_interpreter.json()},
        "steps_ms": timelines,
    }


if __name__ == "__main__":
    benchmark("startup", body)
