"""Exact counters from the BPF program: the side that stays.

Holds the probe through descriptors it was sent by `bpf_loader`, and reads the
maps of `bpf/cgroup_cpu.c`, whose layout is repeated here and nowhere else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterable, Sequence
from errno import EINVAL, ENXIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cgbpf.errors import SourceUnavailable
from cgbpf.hierarchy import Hierarchy, mounted
from cgbpf.model import Probe, Seen, Snapshot
from cgbpf.naming.places import Places
from cgbpf.sources.libbpf import possible_cpus, run_on_cpu
from cgbpf.sources.loading import MAX_GONE, Loading
from cgbpf.sources.maps import HashReader, read_one
from cgbpf.sources.usage import Files

if TYPE_CHECKING:
    from cgbpf.model import U64

log = logging.getLogger(__name__)

SLOTS = 32
PATH_LEN = 1024
# struct cpu_state, in 64-bit words.
_NOW, _FLUSHING, _FLUSHED, _FIRST, _CACHE = 0, 6, 7, 13, 14
_WORDS = _CACHE + 3 * SLOTS
_AT, _IDLE, _AWAY, _LOST_NS, _LOST_UPDATES = 0, 1, 2, 3, 5  # in struct totals


class BpfSource:
    """On-CPU time and switches by cgroup, from the moment it was made on."""

    kind = "bpf"

    def __init__(
        self,
        hierarchy: Hierarchy,
        max_cgroups: int | None = None,
        loading: Loading | None = None,
        mounts: Sequence[Hierarchy] | None = None,
    ) -> None:
        """`loading`: one that was begun on `hierarchy` before, to save time."""
        loading = loading or Loading(hierarchy, max_cgroups)
        self.hierarchy = hierarchy
        self.fallback_reason: str | None = None
        self._max = loading.max_cgroups
        self._files = Files(mounted() if mounts is None else mounts, hierarchy)
        self._keys: U64 = np.zeros(0, dtype=np.uint64)
        self._order = np.argsort(self._keys)
        self._dying: dict[int, int] = {}  # removed id -> CPU time at the last snapshot
        self._hopping = False
        self._whole = hierarchy.shows_all
        self._buried: list[int] = []  # whose entries were deleted at the last snapshot
        self._fds: dict[str, int] = loading.descriptors()
        try:
            self._places = Places(hierarchy)
            self._cpus = _possible_cpus()
            self._flush()  # from now on, what was running already counts
        except BaseException:
            self.close()
            raise
        self._usages = HashReader(self._fds["usages"], 16 * self._cpus, self._max)
        self._gone = HashReader(self._fds["gone"], 8 + PATH_LEN, MAX_GONE)

    def snapshot(self) -> Snapshot:
        offline = self._flush()
        cached = range(self._cpus) if self._hopping else offline
        at_ns, wall = time.monotonic_ns(), time.time()
        # The hash first: what moves there from a cache in between is missed now
        # and found next time, never counted twice.
        kept = self._usages.read()
        states = read_one(self._fds["cpus"], _WORDS, self._cpus)
        ids, usage = self._usage(kept, states, cached)
        sums = usage.sum(axis=1, dtype=np.uint64)
        totals = states[:, _FLUSHED:_FIRST].copy()
        totals[list(cached)] = states[list(cached), _NOW:_FLUSHING]
        watched = states[:, _FIRST] > 0
        spans = totals[:, _AT] - states[:, _FIRST] - totals[:, _AWAY]
        snapshot = Snapshot(
            at_ns=at_ns,
            time=wall,
            ids=ids,
            cpu_ns=sums[:, 0],
            switches=sums[:, 1],
            inclusive=False,
            cpus=self._cpus - len(offline),
            covered_ns=int(spans[watched].sum()),
            idle_ns=int(totals[:, _IDLE].sum()),
            cpu_ns_by_cpu=usage[:, :, 0],
            probe=self._probe(totals, len(ids), offline),
        )
        self._bury(snapshot)
        return snapshot

    def _usage(self, kept: tuple[U64, Any], states: U64, cached: Iterable[int]) -> tuple[U64, U64]:
        """Sorted ids, and (cgroups, CPUs, [ns, switches]). `cached`: CPUs whose
        cache could not be emptied into the hash.
        """
        keys, values = kept
        usage = values.view(np.uint64).reshape(len(keys), self._cpus, 2)
        for cpu in cached:
            for cgroup_id, *slot in states[cpu, _CACHE:].reshape(SLOTS, 3).tolist():
                if not any(slot):
                    continue
                if cgroup_id not in keys:
                    keys = np.append(keys, np.uint64(cgroup_id))
                    usage = np.append(usage, np.zeros((1, self._cpus, 2), np.uint64), axis=0)
                usage[keys == cgroup_id, cpu] += np.array(slot, dtype=np.uint64)
        if not np.array_equal(keys, self._keys):  # mostly as at the last snapshot
            self._keys, self._order = keys, np.argsort(keys)
        return keys[self._order], usage[self._order]

    def paths(self, ids: Iterable[int]) -> list[str | None]:
        ids = list(ids)
        found = self._places.find(ids)
        if None in found:  # removed since the last snapshot
            self._note_removals()
            found = self._places.find(ids)
        return found

    def all_paths(self) -> Iterable[str]:
        return (path for _, path in self.hierarchy.walk())

    def look(self, path: str) -> Seen:
        return self._files.look(path)

    def close(self) -> None:
        for fd in self._fds.values():
            os.close(fd)
        self._fds = {}
        if hasattr(self, "_places"):
            self._places.close()

    def _flush(self) -> tuple[int, ...]:
        """Charges every slice in flight. Returns the CPUs that are offline."""
        offline = []
        for cpu in range(self._cpus):
            try:
                self._charge_now(cpu)
            except OSError as error:
                if error.errno not in (ENXIO, EINVAL):
                    raise SourceUnavailable(
                        f"the kernel can't run the probe on CPU {cpu}: {error.strerror}",
                        "use --source files",
                    ) from error
                offline.append(cpu)
        return tuple(offline)

    def _charge_now(self, cpu: int) -> None:
        """Charges the slice in flight on `cpu`. Raises OSError for one that is offline.

        A kernel before 5.10 can't run the program on a chosen CPU. There this
        thread takes the place of the task that runs, which is then charged by
        the switch; the CPU's cache is read where it is.
        """
        if not self._hopping:
            try:
                run_on_cpu(self._fds["flush"], cpu)
                return
            except OSError as error:
                if error.errno == ENXIO:
                    raise
                log.debug("can't run the probe on CPU %d: %s", cpu, error)
                self._hopping = True
        allowed = os.sched_getaffinity(0)
        try:
            os.sched_setaffinity(0, {cpu})
        finally:
            os.sched_setaffinity(0, allowed)

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
        self._places.forget(self._buried)  # this snapshot was the last to have them
        self._buried = done
        self._dying = {each: now for each, now in usage.items() if each not in set(done)}
        self._note_removals()

    def _note_removals(self) -> None:
        keys, records = self._gone.drain()
        for cgroup_id, record in zip(keys.tolist(), records, strict=True):
            path = bytes(record[8:]).split(b"\0", 1)[0]
            # Else the kernel has cut it, or tells it from a root that the mount does not show.
            if len(path) < PATH_LEN - 1 and self._whole:
                self._places.remember(cgroup_id, os.fsdecode(path))
            self._dying[cgroup_id] = -1


def _possible_cpus() -> int:
    try:
        return possible_cpus()
    except OSError as error:
        raise SourceUnavailable(
            f"libbpf can't be used: {error}", "install BCC: apt install python3-bpfcc"
        ) from error


def _program_counts(fd: int) -> dict[str, int]:
    """The kernel's statistics of a program (proc(5), fdinfo of BPF programs)."""
    counts = {}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("run_time_ns", "run_cnt", "recursion_misses"):
                counts[name] = int(value)
    return counts
