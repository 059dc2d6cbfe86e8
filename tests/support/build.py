"""Makes snapshots, intervals, rankings and a source of numbers that a test gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cgbpf.hierarchy import Hierarchy
from cgbpf.model import Interval, Probe, Ranking, Row, Seen, Snapshot

if TYPE_CHECKING:
    from cgbpf.model import U64

NOWHERE = Hierarchy(version=2, mount="/nowhere")
SECOND = 1_000_000_000


def column(values: Iterable[int]) -> U64:
    return np.array(list(values), dtype=np.uint64)


def snapshot(
    cpu_ns: Mapping[int, int],
    *,
    at_s: float = 0.0,
    switches: Mapping[int, int] | None = None,
    inclusive: bool = False,
    covered_ns: int = 0,
    idle_ns: int = 0,
    by_cpu: Mapping[int, Sequence[int]] | None = None,
    probe: Probe | None = None,
) -> Snapshot:
    """A snapshot of the counters given by id."""
    ids = sorted(cpu_ns)
    return Snapshot(
        at_ns=int(at_s * SECOND),
        time=1_700_000_000.0 + at_s,
        ids=column(ids),
        cpu_ns=column(cpu_ns[each] for each in ids),
        switches=None if switches is None else column(switches[each] for each in ids),
        inclusive=inclusive,
        cpus=2,
        covered_ns=covered_ns,
        idle_ns=idle_ns,
        cpu_ns_by_cpu=None
        if by_cpu is None
        else np.array([by_cpu[each] for each in ids], dtype=np.uint64),
        probe=probe,
    )


def interval(cpu_ns: Mapping[str, int], *, window_s: float = 1.0, cpus: int = 2) -> Interval:
    """An interval in which the cgroups at these paths used this much themselves."""
    total = int(window_s * SECOND) * cpus
    return Interval(
        start_ns=0,
        end_ns=int(window_s * SECOND),
        time=1_700_000_000.0,
        ids=column(range(1, len(cpu_ns) + 1)),
        paths=list(cpu_ns),
        cpu_ns=column(cpu_ns.values()),
        switches=None,
        cpus=cpus,
        total_ns=total,
        idle_ns=max(0, total - sum(cpu_ns.values())),
    )


class FakeSource:
    """Gives the snapshots it was made with, as a recording does."""

    fallback_reason: str | None = None
    hierarchy: Hierarchy

    def __init__(
        self,
        snapshots: Sequence[Snapshot] = (),
        paths: Mapping[int, str] | None = None,
        *,
        kind: str = "recorded",
        seen: Mapping[str, Seen] | None = None,
    ) -> None:
        self.kind = kind
        self.hierarchy = NOWHERE
        self.closed = 0
        self._snapshots = list(snapshots)
        self._paths: Mapping[int, str] = {} if paths is None else paths
        self._seen = dict(seen or {})

    def snapshot(self) -> Snapshot:
        if not self._snapshots:
            raise EOFError
        return self._snapshots.pop(0)

    def paths(self, ids: Iterable[int]) -> list[str | None]:
        return [self._paths.get(each) for each in ids]

    def all_paths(self) -> Iterable[str]:
        return [*self._paths.values(), *self._seen]

    def look(self, path: str) -> Seen:
        """What the test gave for `path`, else that it is there, under its id."""
        ids = {known: number for number, known in self._paths.items()}
        return self._seen.get(path, Seen(id=ids.get(path)))

    def close(self) -> None:
        self.closed += 1


def row(path: str, **changed: object) -> Row:
    """A row for a unit at `path`; 250 ms in a second of two CPUs unless `changed`."""
    values: dict[str, object] = {
        "id": 7,
        "path": path,
        "name": path.rpartition("/")[2],
        "kind": "cgroup",
        "alive": True,
        "cpu_ns": 250_000_000,
        "cpu_percent": 25.0,
        "host_percent": 12.5,
        "switches": None,
        "memory_bytes": None,
        "working_set_bytes": None,
        "score": 25.0,
        "perf_cgroup": path[1:],
    }
    return Row(**(values | changed))  # type: ignore[arg-type]


def ranking(rows: Sequence[Row], **changed: object) -> Ranking:
    """A ranking of `rows`, over an interval in which nothing else ran."""
    observed = interval({each.path: each.cpu_ns for each in rows})
    used = int(observed.cpu_ns.sum())
    values: dict[str, object] = {
        "rows": list(rows),
        "dropped": [],
        "interval": observed,
        "root_ns": 0,
        "units_ns": used,
        "units": len(rows),
    }
    return Ranking(**(values | changed))  # type: ignore[arg-type]
