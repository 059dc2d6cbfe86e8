"""What the probe costs at a context switch, net, against floors and other ways.

Two processes on one CPU pass a byte to and fro: every pass is one switch. A
measurement is A/B/A (without, with, without), and its net cost is B less the
mean of the As, because the machine drifts by more than the probe costs. The
null control attaches nothing and says how far off zero such a figure is.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import statistics
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cgbpf.hierarchy import mounted, perf_hierarchy
from cgbpf.sources.bpf_loader import bpf_folder, load
from cgbpf.sources.btf import KernelTypes
from tools.bench.cgroups import join, process, tree
from tools.bench.common import (
    JSON,
    Claims,
    Spread,
    benchmark,
    note,
    online_cpus,
    spread,
    undisturbed,
)

VARIANTS = Path(__file__).with_name("variants")
FLOORS = ("empty", "clock", "clock_id", "hash", "one_slot", "runtime")
SHIPPED = "cgbpf"
WARM_UP, CHUNKS, PASSES = 300, 15, 100
PIPE_LOOPS = 40_000
CONSTANTS = {"MAX_CGROUPS": 16_384, "MAX_GONE": 4096, "HIERARCHY_ID": 0}
STEPS = {
    "null": "no program (control)",
    "empty": "empty raw tracepoint",
    "clock": "+ clock: the floor",
    "clock_id": "+ cgroup id",
    "cgbpf_switch": "+ cache: cgbpf, sched_switch alone",
    "cgbpf": "cgbpf as shipped",
    "one_slot": "one cached cgroup instead",
    "hash": "no cache: per-CPU hash instead",
    "runtime": "one_slot, sum_exec_runtime for clock",
}


@dataclass
class Program:
    """A loaded BPF file whose raw tracepoints are attached on demand."""

    bpf: Any = None
    tracepoints: list[str] = field(default_factory=list)

    def attach(self) -> None:
        for name in self.tracepoints:
            self.bpf.attach_raw_tracepoint(name.encode(), f"raw_tracepoint__{name}".encode())

    def detach(self) -> None:
        for name in self.tracepoints:
            if name.encode() in self.bpf.raw_tracepoint_fds:
                self.bpf.detach_raw_tracepoint(name.encode())

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        try:
            self.attach()
            yield
        finally:
            self.detach()


def programs() -> dict[str, Program]:
    """All variants, loaded and not attached."""
    _, shipped = load(CONSTANTS)  # sets BCC's folder of headers too
    everything = [name.decode() for name in shipped.raw_tracepoint_fds]
    found = {
        "null": Program(),
        SHIPPED: Program(shipped, everything),
        "cgbpf_switch": Program(shipped, ["sched_switch"]),
    }
    for name in FLOORS:
        found[name] = Program(_compiled(VARIANTS / f"{name}.c"), ["sched_switch"])
    for each in found.values():
        each.detach()
    found[SHIPPED].detach()
    return found


def _compiled(source: Path) -> Any:
    """A variant, as BCC makes it with the headers of bpf/ (set by `load`)."""
    from bcc import BPF  # type: ignore[import-untyped,unused-ignore]

    assert os.environ["BCC_KERNEL_SOURCE"] == str(bpf_folder())
    with KernelTypes() as types:
        runtime = types.offset("task_struct", "se") + types.offset(
            "sched_entity", "sum_exec_runtime"
        )
    constants = {**CONSTANTS, "SUM_EXEC_RUNTIME": runtime}
    return BPF(src_file=str(source), cflags=[f"-D{k}={v}" for k, v in constants.items()])


class Pair:
    """Our process and a partner, passing a byte to and fro on one CPU."""

    def __init__(self) -> None:
        self._there, self._from_us = os.pipe()
        self._here, self._from_them = os.pipe()

    def partner(self, cpu: int) -> None:
        os.sched_setaffinity(0, {cpu})
        while os.read(self._there, 1):
            os.write(self._from_them, b"x")

    def ns_per_switch(self, passes: int) -> float:
        read, write, here, there = os.read, os.write, self._here, self._from_us
        start = time.perf_counter_ns()
        for _ in range(passes):
            write(there, b"x")
            read(here, 1)
        return (time.perf_counter_ns() - start) / (2 * passes)

    def sample(self) -> float:
        """The median of short runs: an interruption spoils one of them, not all."""
        self.ns_per_switch(WARM_UP)
        return statistics.median(self.ns_per_switch(PASSES) for _ in range(CHUNKS))


def net_cost(pair: Pair, program: Program) -> float:
    """Nanoseconds a switch that `program` adds, once."""
    before = pair.sample()
    with program.attached():
        during = pair.sample()
    return during - (before + pair.sample()) / 2


Costs = dict[str, dict[str, list[float]]]


def ping_pong(loaded: dict[str, Program], rounds: int, cpu: int) -> Costs:
    """Net costs by program and by pair: "same" cgroup, "different" cgroups."""
    hierarchy = perf_hierarchy(mounted())
    pairs = {"same": Pair(), "different": Pair()}
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(tree(hierarchy))
        here, other = ours.directory(ours.make("a")), ours.directory(ours.make("b"))
        for name, directory in (("same", here), ("different", other)):
            stack.enter_context(process(partial(pairs[name].partner, cpu), directory))
        stack.enter_context(_moved(here, hierarchy.directory("/"), cpu))
        return _rounds(loaded, pairs, rounds)


def _rounds(loaded: dict[str, Program], pairs: dict[str, Pair], rounds: int) -> Costs:
    costs: Costs = {name: {each: [] for each in pairs} for name in loaded}
    for _ in range(rounds):
        for name in random.sample(list(loaded), len(loaded)):
            for each, pair in pairs.items():
                costs[name][each].append(net_cost(pair, loaded[name]))
    return costs


@contextlib.contextmanager
def _moved(directory: str, back: str, cpu: int) -> Iterator[None]:
    """Our process in the cgroup `directory`, on one CPU."""
    before = os.sched_getaffinity(0)
    try:
        join(directory)
        os.sched_setaffinity(0, {cpu})
        yield
    finally:
        with undisturbed():
            os.sched_setaffinity(0, before)
            join(back)


def sched_pipe(shipped: Program, repetitions: int, cpu: int) -> dict[str, list[float]]:
    """Microseconds an operation (two switches) of `perf bench sched pipe`, in turns."""
    found: dict[str, list[float]] = {"without": [], "with": [], "slowdown_percent": []}
    _pipe_once(cpu)
    for _ in range(repetitions):
        before = _pipe_once(cpu)
        with shipped.attached():
            during = _pipe_once(cpu)
        after = _pipe_once(cpu)
        base = (before + after) / 2
        found["without"].append(base)
        found["with"].append(during)
        found["slowdown_percent"].append(100 * (during / base - 1))
    return found


def _pipe_once(cpu: int) -> float:
    command = ["taskset", "-c", str(cpu), "perf", "bench", "sched", "pipe", "-l", str(PIPE_LOOPS)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    match = re.search(r"([0-9.]+) usecs/op", text)
    if match is None:
        raise RuntimeError(f"perf bench said no usecs/op: {text}")
    return float(match[1])


def show(costs: dict[str, dict[str, Spread]]) -> None:
    note("net ns a switch: median (quartiles), same cgroup | other cgroup")
    for name, label in STEPS.items():
        each = costs[name]
        note(f"  {label:36} {each['same']}  | {each['different']}")


def ratios(costs: dict[str, dict[str, Spread]]) -> JSON:
    """Of medians: single differences are too noisy to be divided by one another."""
    return {
        f"{SHIPPED}_to_{peer}": {
            pair: round(costs[SHIPPED][pair].median / costs[peer][pair].median, 3)
            for pair in ("same", "different")
        }
        for peer in ("empty", "clock", "one_slot", "hash")
    }


def body(quick: bool, claims: Claims) -> JSON:
    cpu = online_cpus()[-1]
    loaded = programs()
    raw = ping_pong(loaded, 10 if quick else 60, cpu)
    costs = {n: {k: spread(v) for k, v in each.items()} for n, each in raw.items()}
    show(costs)
    by_peer = ratios(costs)
    pipe_runs = sched_pipe(loaded[SHIPPED], 3 if quick else 9, cpu)
    pipe = {k: spread(v) for k, v in pipe_runs.items()}
    note(f"perf bench sched pipe, CPU {cpu}, us an operation (two switches):")
    for name, each in pipe.items():
        note(f"  {name:36} {each}")
    claims.at_most("net cost to the floor, same cgroup", by_peer["cgbpf_to_clock"]["same"], 1.2)
    claims.at_most(
        "net cost to the floor, other cgroup", by_peer["cgbpf_to_clock"]["different"], 1.7
    )
    return {
        "net_ns_per_switch": {
            n: {k: v.json() for k, v in each.items()} for n, each in costs.items()
        },
        "ratio": by_peer,
        "sched_pipe": {name: each.json() for name, each in pipe.items()},
    }


if __name__ == "__main__":
    benchmark("probe", body)
