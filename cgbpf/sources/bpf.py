"""Exact counters from the BPF program: the side that stays.

Holds the probe through descriptors it was sent by `bpf_loader`, and reads the
maps of `bpf/cgroup_cpu.c`, whose layout is repeated here and nowhere else.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from errno import ENXIO
from pathlib import Path

import numpy as np

from cgbpf import privileges
from cgbpf.errors import CgbpfError, NotPermitted, SourceUnavailable
from cgbpf.hierarchy import Hierarchy
from cgbpf.model import U64, Probe, Snapshot
from cgbpf.naming.places import Places
from cgbpf.sources.libbpf import possible_cpus, run_on_cpu
from cgbpf.sources.maps import HashReader, read_one

SLOTS = 32
MIN_CGROUPS = 16_384
MAX_CGROUPS = 1 << 20
MAX_GONE = 4096
PATH_LEN = 1024

# struct cpu_state, in 64-bit words.
_NOW, _FLUSHING, _FLUSHED, _FIRST, _CACHE = 0, 5, 6, 11, 12
_WORDS = _CACHE + 3 * SLOTS
_AT, _IDLE, _LOST_NS, _LOST_UPDATES = 0, 1, 2, 4  # in struct totals

_LOAD_TIMEOUT_S = 120.0
"""Compiling takes 0.25 s natively, but up to 45 s in an emulated machine."""


def room_for(cgroups: int) -> int:
    """Map entries for a host that has `cgroups` now: twice that, a power of two."""
    return min(MAX_CGROUPS, max(MIN_CGROUPS, 1 << (2 * cgroups - 1).bit_length()))


def count_cgroups(hierarchy: Hierarchy) -> int:
    """How many cgroups there are, from cgroup.stat of the root (4.14+)."""
    try:
        text = Path(hierarchy.directory("/"), "cgroup.stat").read_text()
        return int(dict(line.split() for line in text.splitlines())["nr_descendants"])
    except (OSError, KeyError, ValueError):
        return 0


class BpfSource:
    """On-CPU time and switches by cgroup, from the moment it was made on."""

    kind = "bpf"

    def __init__(self, hierarchy: Hierarchy, max_cgroups: int | None = None) -> None:
        if hierarchy.version != 2:
            raise SourceUnavailable(
                f"perf filters on the v1 hierarchy at {hierarchy.mount} here, "
                "and the BPF source counts cgroup2 only",
                "use --source files",
            )
        privileges.require_bpf()
        self.hierarchy = hierarchy
        self.fallback_reason: str | None = None
        self._max = max_cgroups or room_for(count_cgroups(hierarchy))
        self._fds: dict[str, int] = {}
        self._places = Places(hierarchy)
        self._dying: dict[int, int] = {}  # removed id -> CPU time at the last snapshot
        try:
            self._attach()
            self._flush()  # from now on, what was running already counts
        except BaseException:
            self.close()
            raise

    def _attach(self) -> None:
        constants = {
            "MAX_CGROUPS": self._max,
            "MAX_GONE": MAX_GONE,
            "ROOT_ID": self.hierarchy.cgroup_id("/") or 1,
            "HIERARCHY_ID": 0,
        }
        try:
            self._fds = _start_loader(constants)
            self._cpus = possible_cpus()
        except OSError as error:
            raise SourceUnavailable(
                f"libbpf can't be used: {error}", "install BCC: apt install python3-bpfcc"
            ) from error
        self._usages = HashReader(self._fds["usages"], 16 * self._cpus, self._max)
        self._gone = HashReader(self._fds["gone"], 8 + PATH_LEN, MAX_GONE)

    def snapshot(self) -> Snapshot:
        offline = self._flush()
        at_ns, wall = time.monotonic_ns(), time.time()
        states = read_one(self._fds["cpus"], _WORDS, self._cpus)
        keys, values = self._usages.read()
        order = np.argsort(keys)
        ids = keys[order]
        by_cpu = values.view(np.uint64).reshape(len(keys), self._cpus, 2)[order]
        cpu_ns_by_cpu, switches = by_cpu[:, :, 0], by_cpu[:, :, 1].sum(axis=1, dtype=np.uint64)
        totals = states[:, _FLUSHED:_FIRST].copy()
        totals[list(offline)] = states[list(offline), _NOW:_FLUSHING]
        watched = states[:, _FIRST] > 0
        snapshot = Snapshot(
            at_ns=at_ns,
            time=wall,
            ids=ids,
            cpu_ns=cpu_ns_by_cpu.sum(axis=1, dtype=np.uint64),
            switches=switches,
            inclusive=False,
            cpus=self._cpus - len(offline),
            covered_ns=int((totals[:, _AT] - states[:, _FIRST])[watched].sum()),
            idle_ns=int(totals[:, _IDLE].sum()),
            cpu_ns_by_cpu=cpu_ns_by_cpu,
            probe=self._probe(totals, len(keys), offline),
        )
        self._bury(snapshot)
        return snapshot

    def paths(self, ids: Iterable[int]) -> list[str | None]:
        return self._places.find(ids)

    def alive(self, cgroup_id: int, path: str) -> bool:
        return self.hierarchy.cgroup_id(path) == cgroup_id

    def close(self) -> None:
        for fd in self._fds.values():
            os.close(fd)
        self._fds = {}
        self._places.close()

    def _flush(self) -> tuple[int, ...]:
        """Charges every slice in flight. Returns the CPUs that are offline."""
        offline = []
        for cpu in range(self._cpus):
            try:
                run_on_cpu(self._fds["flush"], cpu)
            except OSError as error:
                if error.errno != ENXIO:
                    raise SourceUnavailable(
                        f"the kernel can't run the probe on CPU {cpu}: {error.strerror}",
                        "it needs Linux 5.10 or later; use --source files",
                    ) from error
                offline.append(cpu)
        return tuple(offline)

    def _probe(self, totals: U64, used: int, offline: tuple[int, ...]) -> Probe:
        missed, runs, run_ns = 0, 0, 0
        for name, fd in self._fds.items():
            if name.startswith("program:"):
                counts = _program_counts(fd)
                missed += counts.get("recursion_misses", 0)
                runs += counts.get("run_cnt", 0)
                run_ns += counts.get("run_time_ns", 0)
        return Probe(
            lost=int(totals[:, _LOST_UPDATES].sum()) + missed,
            lost_ns=int(totals[:, _LOST_NS].sum()),
            map_used=used,
            map_max=self._max,
            paths_lost=int(read_one(self._fds["gone_lost"], 1, 1)[0, 0]),
            offline_cpus=offline,
            runs=runs or None,
            run_ns=run_ns or None,
        )

    def _bury(self, snapshot: Snapshot) -> None:
        """Takes note of removed cgroups, and frees the entries of those that
        were removed before the last snapshot and have used nothing since: an
        exiting task may be charged to a cgroup after its rmdir.
        """
        usage = dict.fromkeys(self._dying, 0)
        where = np.searchsorted(snapshot.ids, np.fromiter(self._dying, np.uint64, len(usage)))
        for cgroup_id, index in zip(usage, where.tolist(), strict=True):
            if index < len(snapshot.ids) and int(snapshot.ids[index]) == cgroup_id:
                usage[cgroup_id] = int(snapshot.cpu_ns[index])
        done = [each for each, before in self._dying.items() if usage[each] == before]
        self._usages.delete(np.array(done, dtype=np.uint64))
        self._places.forget(done)
        self._dying = {each: now for each, now in usage.items() if each not in set(done)}
        keys, records = self._gone.drain()
        for cgroup_id, record in zip(keys.tolist(), records, strict=True):
            path = bytes(record[8:]).split(b"\0", 1)[0]
            self._places.remember(cgroup_id, os.fsdecode(path))
            self._dying[cgroup_id] = -1


def _program_counts(fd: int) -> dict[str, int]:
    """The kernel's statistics of a program (proc(5), fdinfo of BPF programs)."""
    counts = {}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("run_time_ns", "run_cnt", "recursion_misses"):
                counts[name] = int(value)
    return counts


def _start_loader(constants: dict[str, int]) -> dict[str, int]:
    """Runs the child, and returns the descriptors it sends, by name."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:  # closed here, or the wait below has no end when the child fails
            # -I: what lies in the working directory must not be imported by root.
            child = subprocess.Popen(
                [sys.executable, "-I", "-m", "cgbpf.sources.bpf_loader", str(theirs.fileno()),
                 json.dumps(constants)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        ours.settimeout(_LOAD_TIMEOUT_S)
        try:
            message, fds, _, _ = socket.recv_fds(ours, 1 << 20, 64)
        except TimeoutError:
            message, fds = b"", []
        finally:
            child.kill()
            child.wait()
    answer = json.loads(message) if message else {"error": "the loader gave no answer"}
    if "error" in answer:
        raise _translate(answer)
    return dict(zip(answer["fds"], fds, strict=True))


def _translate(answer: dict[str, object]) -> CgbpfError:
    """What the loader's failure means, and what to do about it."""
    error = str(answer["error"])
    noise = answer.get("noise")
    detail = error if not isinstance(noise, list) or not noise else f"{error} ({noise[-1]})"
    if "No module named 'bcc'" in error or "cannot import name 'BPF'" in error:
        return SourceUnavailable(
            f"BCC is not installed for {sys.executable}",
            "apt install python3-bpfcc, and use a Python that sees it "
            "(/usr/bin/python3, or a venv with --system-site-packages)",
        )
    if "Operation not permitted" in detail or "Permission denied" in detail:
        return NotPermitted(
            f"the kernel refuses to load the probe: {detail}",
            "run as root, or with CAP_BPF and CAP_PERFMON; see cgbpf check",
        )
    return SourceUnavailable(f"the probe can't be loaded: {detail}", "see cgbpf check")
