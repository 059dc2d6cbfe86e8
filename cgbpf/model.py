"""The words that every other module uses.

Units are in the names: `_ns` nanoseconds, `_s` seconds, `_bytes`, `_percent`.
`None` means not measured, 0 means zero. Counters are columns (NumPy arrays,
one element per cgroup), because ten thousand cgroups are read at once; rows
exist only for what is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:  # annotations need no import, and NumPy takes 60 ms
    import numpy as np
    import numpy.typing as npt

    U64 = npt.NDArray[np.uint64]
    Floats = npt.NDArray[np.float64]

JSON = dict[str, Any]

SCHEMA = 1
"""Version of the JSON objects that commands print and save."""


@dataclass(frozen=True)
class Probe:
    """What the probe says of itself. All counts are since it was attached."""

    lost: int = 0
    """Updates the full map refused, and probe calls the kernel skipped."""
    lost_ns: int = 0
    """CPU time of the refused updates; part of the unattributed time."""
    map_used: int = 0
    map_max: int = 0
    paths_lost: int = 0
    """Removed cgroups whose last path could not be kept."""
    offline_cpus: tuple[int, ...] = ()
    """Possible CPUs that are offline now: their time is not counted."""
    runs: int | None = None
    run_ns: int | None = None
    """Calls of the probe and time spent in them, where the kernel counts it
    (sysctl kernel.bpf_stats_enabled=1)."""


class Seen(NamedTuple):
    """What the kernel's files say of one cgroup now. None = not measured, or gone."""

    id: int | None = None
    """None if there is no cgroup of that path."""
    memory_bytes: int | None = None
    """With descendants and page cache."""
    working_set_bytes: int | None = None
    """`memory_bytes` less inactive page cache, as Kubernetes counts it."""
    lifetime_cpu_ns: int | None = None
    """Since the cgroup was made, with its descendants'."""


@dataclass(frozen=True)
class Snapshot:
    """Counters of all cgroups of one hierarchy at one moment.

    All are totals since an unspecified beginning: only the difference of two
    snapshots of one source means something.
    """

    at_ns: int
    """CLOCK_MONOTONIC."""
    time: float
    """Seconds since the epoch, for people."""
    ids: U64
    """Sorted, unique."""
    cpu_ns: U64
    switches: U64 | None
    inclusive: bool
    """Whether a cgroup's counters include its descendants' (the kernel's files
    do, the BPF maps don't)."""
    cpus: int
    """Online CPUs."""
    covered_ns: int
    """CPU time there was to account for: the sum over CPUs of the time watched."""
    idle_ns: int
    cpu_ns_by_cpu: U64 | None = None
    """Shape (cgroups, possible CPUs)."""
    probe: Probe | None = None


@dataclass(frozen=True)
class Interval:
    """What each cgroup used itself (descendants not included) in one window.

    The account closes: `total_ns` = sum of `cpu_ns` + `idle_ns` +
    `unattributed_ns`. The root cgroup is one of `ids`.
    """

    start_ns: int
    end_ns: int
    time: float
    """Wall-clock end, in seconds since the epoch."""
    ids: U64
    paths: list[str]
    """Beside `ids`; "unknown:ID" where the path was never seen."""
    cpu_ns: U64
    switches: U64 | None
    cpus: int
    total_ns: int
    idle_ns: int
    cpu_ns_by_cpu: U64 | None = None
    probe: Probe | None = None

    @property
    def window_s(self) -> float:
        return (self.end_ns - self.start_ns) / 1e9

    def own_ns(self, path: str) -> int:
        """CPU time of one cgroup itself; 0 where it is not there."""
        try:
            return int(self.cpu_ns[self.paths.index(path)])
        except ValueError:
            return 0

    @property
    def unattributed_ns(self) -> int:
        return self.total_ns - self.idle_ns - int(self.cpu_ns.sum())


@dataclass(frozen=True)
class Row:
    """One unit of a ranking. The field names are those of the JSON and CSV."""

    id: int | None
    """None where the unit's own directory was gone before its id was seen."""
    path: str
    name: str
    kind: str
    alive: bool
    cpu_ns: int
    cpu_percent: float
    """100 = one CPU."""
    host_percent: float
    """100 = all CPUs."""
    switches: int | None
    memory_bytes: int | None
    working_set_bytes: int | None
    score: float | None
    perf_cgroup: str | None
    """Name for `perf record -G`, None where perf can't take it."""
    cpu_ns_by_cpu: tuple[int, ...] | None = None


class Dropped(NamedTuple):
    """A unit that was not selected although its score would have been enough."""

    path: str
    reason: str


@dataclass(frozen=True)
class Ranking:
    """The hottest units, hottest first, and what the rest of the host did."""

    rows: list[Row]
    dropped: list[Dropped]
    interval: Interval
    root_ns: int
    """The root cgroup: kernel threads, and processes in no other cgroup."""
    units_ns: int
    """All units together, selected or not."""
    units: int
    """How many units used CPU."""
    score: str = "cpu"
    """What was ranked by."""


@dataclass(frozen=True)
class Recipe:
    """How a ranking is made: what the options of `rank` and `record` say."""

    limit: int = 20
    level: str = "container"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    score: str = "cpu"
    own: bool = False
    """Whether the unit that cgbpf itself runs in is ranked, too."""
