"""Resident memory of `cgbpf rank` while it measures, and what the BPF maps take.

Beside it: the bare interpreter, NumPy alone, and what a process would keep
that compiled by itself.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from cgbpf.hierarchy import Hierarchy, mounted, perf_hierarchy
from cgbpf.sources.bpf import BpfSource
from tools.bench.cgroups import load, process, tree, visit
from tools.bench.common import JSON, Claims, benchmark, command_path, note, spread

WINDOW_S = 1.0
SIZES = (1_000, 10_000)
_COMPILES = (
    "import numpy; from cgbpf.sources.bpf_loader import load;"
    "kept = load({'MAX_CGROUPS': 16384, 'MAX_GONE': 4096, 'HIERARCHY_ID': 0})"
)
PEERS = {
    "interpreter": "",
    "numpy": "import numpy",
    "compiler_kept": _COMPILES,
}
_PEER = "{}\nprint(flush=True)\ninput()"


def status_mib(pid: int, field: str) -> float | None:
    """VmRSS or VmHWM of a process (proc(5)), None where it has ended."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return None


def peer_mib(name: str) -> float:
    """What a Python process keeps that has done no more than `PEERS[name]`."""
    command = [sys.executable, "-c", _PEER.format(PEERS[name])]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            return status_mib(child.pid, "VmRSS") or 0.0
        finally:
            child.kill()


def rank_mib(source: str) -> tuple[float, float]:
    """Resident MiB of `cgbpf rank`: the median in its window, and its peak."""
    command = [command_path(), "rank", "--window", str(WINDOW_S), "--source", source,
               "--format", "json"]  # fmt: skip
    resident, peak = [], 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as child:
        try:
            while child.poll() is None:
                now = status_mib(child.pid, "VmRSS")
                if now is not None:
                    resident.append(now)
                    peak = max(peak, status_mib(child.pid, "VmHWM") or 0.0)
                time.sleep(0.005)
        finally:
            child.kill()
    if child.returncode:
        raise RuntimeError(f"cgbpf rank --source {source} failed: exit code {child.returncode}")
    return spread(resident).median, peak


def maps_mib(hierarchy: Hierarchy) -> dict[str, float]:
    """Kernel memory of each map, as the kernel says (fdinfo's memlock)."""
    found = {}
    with closing(BpfSource(hierarchy)) as source:
        for name, fd in source._fds.items():
            for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines():
                if line.startswith("memlock:") and ":" not in name and name != "flush":
                    found[name] = round(int(line.split()[1]) / (1 << 20), 3)
    return found


def ranks(hierarchy: Hierarchy, size: int, repetitions: int) -> JSON:
    """`cgbpf rank` from each source on a host with `size` cgroups that all ran."""
    found: dict[str, list[float]] = {}
    with tree(hierarchy) as ours, process(load(0.05), ours.directory(ours.make("load"))):
        directories = [ours.directory(path) for path in ours.containers(size)]
        for _ in range(repetitions):
            for source in ("bpf", "files"):
                # All of them run while rank looks on.
                with process(lambda: _tour(directories)):
                    window, peak = rank_mib(source)
                found.setdefault(source, []).append(window)
                found.setdefault(f"{source}_peak", []).append(peak)
    return {name: spread(each).json() for name, each in found.items()}


def _tour(directories: list[str]) -> None:
    while True:
        visit(directories, 0.0)


def body(quick: bool, claims: Claims) -> JSON:
    hierarchy = perf_hierarchy(mounted())
    peers = {name: round(peer_mib(name), 1) for name in PEERS}
    maps = maps_mib(hierarchy)
    note("MiB resident: " + ", ".join(f"{name} {each:.0f}" for name, each in peers.items()))
    note("MiB of kernel memory: " + ", ".join(f"{name} {each:.2f}" for name, each in maps.items()))
    by_size = {}
    for size in SIZES:
        by_size[str(size)] = found = ranks(hierarchy, size, 1 if quick else 5)
        medians = ", ".join(f"{name} {each['median']:.0f}" for name, each in found.items())
        note(f"rank at {size} cgroups, MiB: {medians}")
    stays = by_size["1000"]["bpf"]["median"]
    claims.at_most("rank at 1000 cgroups, MiB", stays, 60)
    claims.at_most(
        "rank at 1000 cgroups, to a process that compiled", stays / peers["compiler_kept"], 1 / 2
    )
    return {"peers_mib": peers, "maps_mib": maps, "rank_mib": by_size}


if __name__ == "__main__":
    benchmark("memory", body)
