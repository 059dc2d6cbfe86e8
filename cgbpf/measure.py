"""Two snapshots -> what each cgroup used itself in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from cgbpf.model import Interval, Snapshot
from cgbpf.sources.base import Source

if TYPE_CHECKING:
    from cgbpf.model import U64


def interval(before: Snapshot, after: Snapshot, source: Source) -> Interval:
    """The difference of two snapshots of one source.

    A cgroup that is new in `after` counts from 0. One that is only in
    `before` was removed: the files no longer tell what it used, which then is
    in its parent's time; the BPF source keeps it until it is settled.
    """
    where, old = _places(before, after)
    cpu_ns = _difference(before.cpu_ns, after.cpu_ns, where, old)
    names = _names(after.ids, source)
    if after.inclusive:
        cpu_ns = _without_descendants(cpu_ns, names)
    return Interval(
        start_ns=before.at_ns,
        end_ns=after.at_ns,
        time=after.time,
        ids=after.ids,
        paths=names,
        cpu_ns=cpu_ns,
        switches=None
        if before.switches is None or after.switches is None
        else _difference(before.switches, after.switches, where, old),
        cpus=after.cpus,
        total_ns=after.covered_ns - before.covered_ns,
        idle_ns=after.idle_ns - before.idle_ns,
        cpu_ns_by_cpu=None
        if before.cpu_ns_by_cpu is None or after.cpu_ns_by_cpu is None
        else _difference(before.cpu_ns_by_cpu, after.cpu_ns_by_cpu, where, old),
        probe=after.probe,
    )


def _names(ids: U64, source: Source) -> list[str]:
    paths = source.paths(ids.tolist())
    if None not in paths:
        return cast("list[str]", paths)
    return [path or f"unknown:{each}" for path, each in zip(paths, ids.tolist(), strict=True)]


def _places(before: Snapshot, after: Snapshot) -> tuple[Any, Any]:
    """Where in `before` the ids of `after` are that it has, and which those are."""
    if np.array_equal(before.ids, after.ids):  # as mostly
        return slice(None), slice(None)
    if not len(before.ids):
        return slice(0), slice(0)
    where = np.searchsorted(before.ids, after.ids)
    where[where == len(before.ids)] = 0
    old = before.ids[where] == after.ids
    return where[old], old


def _difference(before: U64, after: U64, where: Any, old: Any) -> U64:
    """`after` less `before`, row by row; never below 0, where a counter went back."""
    past = np.zeros_like(after)
    past[old] = before[where]
    return np.where(after >= past, after - past, np.uint64(0))


def _without_descendants(cpu_ns: U64, paths: list[str]) -> U64:
    """Own time of each cgroup, from times that include descendants.

    Files are not read at one moment: where the children's sum is above the
    parent's time, the parent's own is 0.
    """
    index = {path: position for position, path in enumerate(paths)}
    own = cpu_ns.astype(np.int64)
    for position, path in enumerate(paths):
        if path == "/":
            continue
        parent = index.get(path.rpartition("/")[0] or "/")
        if parent is not None:
            own[parent] -= int(cpu_ns[position])
    return np.maximum(own, 0).astype(np.uint64)
