"""Source -> interval -> ranking: what every command begins with."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cgbpf.errors import NothingFound
from cgbpf.hierarchy import own_cgroup
from cgbpf.measure import interval
from cgbpf.model import Dropped, Interval, Ranking, Recipe, Row, Seen
from cgbpf.perf.names import perf_name, refusal
from cgbpf.rank import Chosen, best, choose
from cgbpf.recipe import check_recipe
from cgbpf.score import FILE_COLUMNS, Score
from cgbpf.sources.base import Source
from cgbpf.units import ROOT, Grouping, Unit, Units, idle_units

if TYPE_CHECKING:
    from cgbpf.model import Floats

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
    for_perf: bool = False,
    without: frozenset[str] = frozenset(),
    grouping: Grouping | None = None,
) -> Ranking:
    """The hottest units of an interval, but for the paths in `without`.

    With `for_perf`, only such as `perf record -G` can take now; the others'
    places go to the next. `grouping`: one of the recipe's level, kept by who
    ranks again and again.
    """
    score = check_recipe(recipe)
    facts = _Facts(observed, source)
    grouping = grouping or Grouping(recipe.level)
    own = None if recipe.own else _own_unit(source, grouping)
    used = Units(observed, grouping)
    idle = []
    if score.columns & FILE_COLUMNS:
        idle = idle_units(used, source.all_paths(), recipe.level)
    chosen, dropped = choose(used, idle, recipe.include, recipe.exclude)
    scores = facts.scores(chosen, score)
    rows: list[Row] = []
    for index in best(scores, chosen.cpu_ns, chosen.path):
        if len(rows) == recipe.limit:
            break
        if chosen.path(index) in without:
            continue
        if chosen.path(index) == own:
            dropped.append(Dropped(own, "cgbpf itself runs in it; --own takes it, too"))
            continue
        value = scores[index]
        row = facts.row(chosen.unit(index), None if value is None else float(value))
        reason = _unfit(row) if for_perf else None
        if reason:
            dropped.append(Dropped(row.path, reason))
        else:
            rows.append(row)
    root_ns = observed.own_ns(ROOT)
    return Ranking(
        rows=rows,
        dropped=dropped,
        interval=observed,
        root_ns=root_ns,
        units_ns=int(observed.cpu_ns.sum()) - root_ns,
        units=len(used),
        score=score.text,
    )


def require_rows(result: Ranking, recipe: Recipe) -> None:
    """Raises NothingFound where a ranking is empty, with what to do about it."""
    if result.rows:
        return
    if result.dropped:
        first = result.dropped[0]
        raise NothingFound(f"no cgroup can be recorded: {first.path!r}: {first.reason}")
    if result.units and (recipe.include or recipe.exclude):
        raise NothingFound(
            f"none of the {result.units} units that used CPU match the filters",
            "loosen --include and --exclude",
        )
    if result.units_ns and not result.units:
        raise NothingFound(
            f"none of the cgroups that used CPU belongs to a unit of --level {recipe.level!r}",
            "see their paths with --level leaf",
        )
    raise NothingFound(
        "no cgroup used any CPU in the window",
        "check that containers are running, and try a longer --window; "
        "what runs in the root cgroup belongs to no container",
    )


def _own_unit(source: Source, grouping: Grouping) -> str | None:
    """The unit that this process runs in: a profiler is not what people look for."""
    path = None if source.kind == "recorded" else own_cgroup(source.hierarchy)
    number = -1 if path is None else grouping.numbers([path])[0]
    return None if number < 0 else grouping.identities[number].path


def _unfit(row: Row) -> str | None:
    if not row.cpu_ns:
        return "it used no CPU in the window"
    return refusal(row.path) or (None if row.alive else "it is gone")


class _Facts:
    """Everything a row or a score tells of a unit."""

    def __init__(self, observed: Interval, source: Source) -> None:
        self._observed = observed
        self._source = source
        self._window_s = max(observed.window_s, 1e-9)
        self._seen: dict[str, Seen] = {}

    def seen(self, unit: Unit) -> Seen:
        if unit.path not in self._seen:
            self._seen[unit.path] = self._source.look(unit.path)
        return self._seen[unit.path]

    def switches(self, unit: Unit) -> int | None:
        counts = self._observed.switches
        return None if counts is None else int(counts[unit.members].sum())

    def cpu_percent(self, unit: Unit) -> float:
        return unit.cpu_ns / (1e7 * self._window_s)

    def host_percent(self, unit: Unit) -> float:
        return 100 * unit.cpu_ns / max(self._observed.total_ns, 1)

    def scores(self, chosen: Chosen, score: Score) -> list[float | None] | Floats:
        """The score of each. Raises NothingFound where it is measured for none."""
        if score.text == "cpu":  # the usual one needs no evaluator, and no unit's details
            return chosen.cpu_ns / (1e7 * self._window_s)
        found = [self._score(chosen.unit(index), score) for index in range(len(chosen))]
        if found and all(each is None for each in found):
            raise NothingFound(
                f"--score {score.text!r} needs {self._unmeasured(chosen, score)}, "
                "and that is not measured for any unit here",
                "rank by cpu",
            )
        return found

    def _unmeasured(self, chosen: Chosen, score: Score) -> str:
        """The columns of `score` that no unit has."""
        rows = [self._values(chosen.unit(index), True) for index in range(len(chosen))]
        missing = [name for name in score.columns if all(row[name] is None for row in rows)]
        return ", ".join(sorted(missing or score.columns))

    def _values(self, unit: Unit, look: bool) -> dict[str, float | None]:
        """Every column that a score may name; those from files only with `look`."""
        switches = self.switches(unit)
        seen = self.seen(unit) if look else Seen()
        return {
            "cpu": self.cpu_percent(unit),
            "host": self.host_percent(unit),
            "cpu_s": unit.cpu_ns / 1e9,
            "switches": None if switches is None else switches / self._window_s,
            "memory": _scaled(seen.memory_bytes, MIB),
            "working_set": _scaled(seen.working_set_bytes, MIB),
            "lifetime_cpu_s": _scaled(seen.lifetime_cpu_ns, 10**9),
        }

    def _score(self, unit: Unit, score: Score) -> float | None:
        return score.of(self._values(unit, bool(score.columns & FILE_COLUMNS)), unit.path)

    def row(self, unit: Unit, score: float | None) -> Row:
        seen = self.seen(unit)
        own = self._own_id(unit)
        by_cpu = self._observed.cpu_ns_by_cpu
        return Row(
            id=seen.id if own is None else own,
            path=unit.path,
            name=unit.identity.name,
            kind=unit.identity.kind,
            alive=seen.id is not None and own in (None, seen.id),
            cpu_ns=unit.cpu_ns,
            cpu_percent=self.cpu_percent(unit),
            host_percent=self.host_percent(unit),
            switches=self.switches(unit),
            memory_bytes=seen.memory_bytes,
            working_set_bytes=seen.working_set_bytes,
            score=score,
            perf_cgroup=perf_name(unit.path),
            cpu_ns_by_cpu=None
            if by_cpu is None
            else tuple(by_cpu[unit.members].sum(axis=0).tolist()),
        )

    def _own_id(self, unit: Unit) -> int | None:
        """The id of the unit's own cgroup, None if only its descendants ran."""
        for member in unit.members:
            if self._observed.paths[member] == unit.path:
                return int(self._observed.ids[member])
        return None


def _scaled(value: int | None, unit: int) -> float | None:
    return None if value is None else value / unit
