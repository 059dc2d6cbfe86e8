"""Tells whether cgroup-based profiling works here, in gProfiler's four sections.

    .venv/bin/python tools/simple_cgroup_test.py

The script of that name in gProfiler's cgroup document, made real: what it says
comes from the facts that `cgbpf check` tries, and nothing from belief.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from cgbpf.check.decide import decide
from cgbpf.check.facts import Facts
from cgbpf.check.lines import Report
from cgbpf.check.probing import find_facts
from cgbpf.model import Seen
from cgbpf.naming.identity import Identity
from cgbpf.perf.argv import cgroup_arguments
from cgbpf.perf.names import perf_name
from cgbpf.report.text import shown
from cgbpf.sources.usage import Files

RULE = "=" * 60
SHOWN = 3
"""Containers in the example command."""


def main() -> int:
    facts = find_facts()
    report = decide(facts)
    docker = [each for each in facts.trees.containers if each.kind == "docker"]
    looks = [(each, looked(facts, each)) for each in docker]
    # What has ended meanwhile is left out: the command below is to work.
    usage = sorted((each for each in looks if each[1].id is not None), key=score, reverse=True)
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    print("=== Simple Cgroup Test for Perf Profiling ===")
    section("1. System Capabilities:", capabilities(facts, report))
    section("2. Docker Container Analysis:", analysis(usage))
    section("3. Perf Command Example:", [example(facts, [each for each, _ in usage])])
    section("4. Benefits of Cgroup-based Profiling:", benefits(report))
    return report.exit_code


def section(heading: str, lines: Sequence[str]) -> None:
    print(f"\n{heading}")
    for line in lines:
        print(f"   {shown(line)}".rstrip())


def looked(facts: Facts, container: Identity) -> Seen:
    ranked = facts.trees.ranked
    return Files(facts.trees.mounts, ranked).look(container.path) if ranked else Seen()


def score(entry: tuple[Identity, Seen]) -> float:
    """CPU seconds + MB, over the container's life: the document's score."""
    cpu_s, memory_mb = measures(entry[1])
    return (cpu_s or 0) + (memory_mb or 0)


def measures(seen: Seen) -> tuple[float | None, float | None]:
    cpu_s = None if seen.lifetime_cpu_ns is None else seen.lifetime_cpu_ns / 1e9
    memory_mb = None if seen.memory_bytes is None else seen.memory_bytes / (1 << 20)
    return cpu_s, memory_mb


def capabilities(facts: Facts, report: Report) -> list[str]:
    mounted = facts.trees.ranked is not None
    lines = [
        f"Cgroup filesystem: {'✅ Available' if mounted else '❌ Not mounted'}",
        f"Perf cgroup support: {'✅ Supported' if facts.perf.by_cgroup else '❌ Not supported'}",
    ]
    if facts.trial.cgroup is not None:
        works = facts.trial.error is None
        lines.append(f"perf record -G, tried: {'✅ Works' if works else '❌ Refused'}")
    exact = report.source == "bpf"
    lines.append(f"Exact CPU counts by BPF: {'✅ Work' if exact else '❌ Not here'}")
    if not exact or not report.ready:
        lines.append("What to do about it: cgbpf check")
    return lines


def analysis(usage: Sequence[tuple[Identity, Seen]]) -> list[str]:
    number = len(usage)
    if not number:
        return ["Found 0 Docker containers."]
    plural = "" if number == 1 else "s"
    return [f"Found {number} Docker container{plural}:", "", *table(usage)]


def table(usage: Sequence[tuple[Identity, Seen]]) -> list[str]:
    rows = []
    for container, seen in usage:
        cpu_s, memory_mb = measures(seen)
        total = score((container, seen))
        rows.append(
            f"| {container.name:16} | {cell(cpu_s, 2):>13} | {cell(memory_mb, 1):>11} | "
            f"{total:>8.1f} |"
        )
    heading = "| Cgroup Name      | CPU Usage (s) | Memory (MB) | Score    |"
    return ["Top Cgroups by Resource Usage:", RULE, heading, RULE, *rows, RULE]


def cell(value: float | None, digits: int) -> str:
    return "NA" if value is None else f"{value:.{digits}f}"


def example(facts: Facts, containers: Sequence[Identity]) -> str:
    """A command that runs as it stands: each -G with an event of its own before it."""
    names = [name for each in containers if (name := perf_name(each.path))][:SHOWN]
    names = names or [name for name in [perf_name(facts.trees.sample)] if name]
    if facts.perf.event is None:
        return "None: perf can't record here, see cgbpf check"
    if not names:
        return "None yet: there is no cgroup but the root"
    arguments = cgroup_arguments([facts.perf.event], names)
    return shlex.join(["perf", "record", "-a", *arguments, "--", "sleep", "10"])


def benefits(report: Report) -> list[str]:
    """Only what is so on this host."""
    if not report.ready:
        return ["None before cgbpf record works, see cgbpf check"]
    exact = "exact CPU time" if report.source == "bpf" else "the kernel's CPU counters"
    return [
        "✅ No crashes from stale/invalid PIDs: none are given to perf",
        "✅ A cgroup that is gone is dropped, and the next hottest is recorded instead",
        f"✅ Automatically targets the containers that burn the CPU now, by {exact}",
        "✅ Every sample tells its container",
        "✅ Containers that are not chosen cost no samples",
    ]


if __name__ == "__main__":
    sys.exit(main())
