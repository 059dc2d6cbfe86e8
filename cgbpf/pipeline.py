"""Source -> interval -> ranking: what every command begins with."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from cgbpf.errors import NothingFound
from cgbpf.hierarchy import Hierarchy
from cgbpf.measure import interval
from cgbpf.model import Dropped, Interval, Ranking, Recipe, Row
from cgbpf.naming.identity import Identity
from cgbpf.perf.names import perf_name, refusal
from cgbpf.rank import ROOT, Unit, best, filtered, units, without_overlap
from cgbpf.recipe import check_recipe
from cgbpf.score import Score
from cgbpf.sources.base import Source
from cgbpf.sources.usage import Files, Memory

MIB = 1 << 20


def observe(
    source: Source, window_s: float, meanwhile: Callable[[], None] = lambda: None
) -> Interval:
    """What was used in the next `window_s` seconds; of a recording, in all of it.

    `meanwhile` is called while the window passes: for imports.
    """
    before = source.snapshot()
    if source.kind == "recorded":
        after = before
        try:
            while True:
                after = source.snapshot()
        except EOFError:
            return interval(before, after, source)
    end = time.monotonic() + window_s
    meanwhile()
    time.sleep(max(0.0, end - time.monotonic()))
    return interval(before, source.snapshot(), source)


def ranking(
    observed: Interval,
    recipe: Recipe,
    source: Source,
    mounts: Sequence[Hierarchy],
    for_perf: bool = False,
    without: frozenset[str] = frozenset(),
) -> Ranking:
    """The hottest units of an interval, but for the paths in `without`.

    With `for_perf`, only such as `perf record -G` can take now; the others'
    places go to the next.
    """
    score = check_recipe(recipe)
    facts = _Facts(observed, source, Files(mounts, source.hierarchy))
    everything = units(observed, recipe.level, idle=recipe.idle or score.text != "cpu")
    apart, dropped = without_overlap(everything)
    chosen = filtered(apart, recipe.include, recipe.exclude)
    scores = [facts.score(unit, score) for unit in chosen]
    rows: list[Row] = []
    for index in best(chosen, scores):
        if len(rows) == recipe.limit:
            break
        if chosen[index].path in without:
            continue
        row = facts.row(chosen[index], scores[index])
        reason = _unfit(row) if for_perf else None
        if reason:
            dropped.append(Dropped(row.path, reason))
        else:
            rows.append(row)
    root = [
        ns
        for path, ns in zip(observed.paths, observed.cpu_ns.tolist(), strict=True)
        if path == ROOT
    ]
    return Ranking(
        rows=rows,
        dropped=dropped,
        interval=observed,
        root_ns=sum(root),
        units_ns=int(observed.cpu_ns.sum()) - sum(root),
        units=len(everything),
    )


def require_rows(result: Ranking, recipe: Recipe) -> None:
    """Raises NothingFound where a ranking is empty, with what to do about it."""
    if result.rows:
        return
    if result.units and (recipe.include or recipe.exclude):
        raise NothingFound(
            f"none of the {result.units} units that used CPU match the filters",
            "loosen --include and --exclude",
        )
    if result.dropped:
        first = result.dropped[0]
        raise NothingFound(f"no cgroup can be recorded: {first.path!r}: {first.reason}")
    raise NothingFound(
        "no cgroup used any CPU in the window",
        "check that containers are running, and try a longer --window; "
        "what runs in the root cgroup belongs to no container",
    )


def _unfit(row: Row) -> str | None:
    if not row.cpu_ns:
        return "it used no CPU in the window"
    return refusal(row.path) or (None if row.alive else "it is gone")


class _Facts:
    """Everything a row or a score tells of a unit."""

    def __init__(self, observed: Interval, source: Source, files: Files) -> None:
        self._observed = observed
        self._source = source
        self._files = files
        self._live = source.kind != "recorded"

    def memory(self, unit: Unit) -> Memory:
        return self._files.memory(unit.path) if self._live else Memory(None, None)

    def switches(self, unit: Unit) -> int | None:
        counts = self._observed.switches
        return None if counts is None else int(counts[unit.members].sum())

    def score(self, unit: Unit, score: Score) -> float | None:
        window = max(self._observed.window_s, 1e-9)
        if score.text == "cpu":
            return unit.cpu_ns / 1e7 / window
        values: dict[str, float | None] = {
            "cpu": unit.cpu_ns / 1e7 / window,
            "host": self._host_percent(unit),
            "cpu_s": unit.cpu_ns / 1e9,
            "switches": None,
            "memory": None,
            "working_set": None,
            "lifetime_cpu_s": None,
        }
        if "switches" in score.columns:
            count = self.switches(unit)
            values["switches"] = None if count is None else count / window
        if score.columns & {"memory", "working_set"}:
            memory = self.memory(unit)
            values["memory"] = None if memory.used is None else memory.used / MIB
            values["working_set"] = None if memory.working_set is None else memory.working_set / MIB
        if "lifetime_cpu_s" in score.columns and self._live:
            lifetime = self._files.lifetime_cpu_ns(unit.path)
            values["lifetime_cpu_s"] = None if lifetime is None else lifetime / 1e9
        return score.of(values, unit.path)

    def row(self, unit: Unit, score: float | None) -> Row:
        cgroup_id = self._id(unit)
        memory = self.memory(unit)
        by_cpu = self._observed.cpu_ns_by_cpu
        identity: Identity = unit.identity
        return Row(
            id=cgroup_id,
            path=unit.path,
            name=identity.name,
            kind=identity.kind,
            alive=cgroup_id is not None and self._source.alive(cgroup_id, unit.path),
            cpu_ns=unit.cpu_ns,
            cpu_percent=unit.cpu_ns / 1e7 / max(self._observed.window_s, 1e-9),
            host_percent=self._host_percent(unit),
            switches=self.switches(unit),
            memory_bytes=memory.used,
            working_set_bytes=memory.working_set,
            score=score,
            perf_cgroup=perf_name(unit.path),
            cpu_ns_by_cpu=None
            if by_cpu is None
            else tuple(by_cpu[unit.members].sum(axis=0).tolist()),
        )

    def _host_percent(self, unit: Unit) -> float:
        return 100 * unit.cpu_ns / max(self._observed.total_ns, 1)

    def _id(self, unit: Unit) -> int | None:
        for member in unit.members:
            if self._observed.paths[member] == unit.path:
                return int(self._observed.ids[member])
        return self._source.hierarchy.cgroup_id(unit.path) if self._live else None
