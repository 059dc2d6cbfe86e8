"""The replay of a run that `saving` kept, through the same code as any source."""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from cgbpf.errors import InputDamaged
from cgbpf.hierarchy import Hierarchy
from cgbpf.model import JSON, SCHEMA, Probe, Seen, Snapshot
from cgbpf.sources.saving import FORMAT, SCALARS

log = logging.getLogger(__name__)

_MAX_LINE = 1 << 28
"""Characters: ten times what 100,000 cgroups on 64 CPUs take."""


class RecordedSource:
    """Gives the snapshots of a saved run, one after the other."""

    kind = "recorded"

    def __init__(self, path: Path) -> None:
        self._name = str(path)
        try:
            self._lines = path.open(encoding="utf-8")
        except OSError as error:
            raise InputDamaged(
                f"can't read {path}: {error.strerror}", "name a file made by --save"
            ) from error
        self._paths: dict[int, str | None] = {}
        self._count = 0
        self._width = 0
        self._seen: dict[str, Seen] = {}
        self._there: dict[str, int] = {}
        try:
            header = self._read()
            if header.get("format") != FORMAT or header.get("schema") != SCHEMA:
                raise self._damaged("not a run saved by this version of cgbpf")
            self.fallback_reason: str | None = header["fallback_reason"]
            self.origin = str(header["source"])
            _require_text(header["hierarchy"]["mount"], header["hierarchy"]["root"])
            if self.fallback_reason is not None:
                _require_text(self.fallback_reason)
            self.hierarchy = Hierarchy(
                header["hierarchy"]["version"],
                header["hierarchy"]["mount"],
                frozenset(header["hierarchy"]["controllers"]),
                header["hierarchy"]["root"],
            )
        except (EOFError, KeyError, TypeError) as error:
            self._lines.close()
            raise self._damaged("no header") from error
        except InputDamaged:
            self._lines.close()
            raise

    def snapshot(self) -> Snapshot:
        line = self._next()
        try:
            snapshot = _snapshot(line)
            paths = {int(each): path for each, path in line["paths"].items()}
            _require_text(*(path for path in paths.values() if path is not None))
            width = _width(snapshot)
            if width and self._width not in (0, width):
                raise ValueError("the number of CPUs changes")
            self._width = width or self._width
            there = set(snapshot.ids.tolist()).difference(line["gone"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise self._damaged("a line is not a snapshot") from error
        self._paths.update(paths)
        self._there = {
            path: each for each, path in self._paths.items() if path is not None and each in there
        }
        self._count += 1
        return snapshot

    def paths(self, ids: Iterable[int]) -> list[str | None]:
        return [self._paths.get(each) for each in ids]

    def all_paths(self) -> Iterable[str]:
        return list(self._seen)

    def look(self, path: str) -> Seen:
        return self._seen.get(path) or Seen(id=self._there.get(path))

    def close(self) -> None:
        self._lines.close()

    def _next(self) -> JSON:
        """The next snapshot's line; what was seen in between is noted."""
        try:
            line = self._read()
            while "look" in line:
                line = self._read()
        except EOFError:
            if self._count < 2:
                raise self._damaged("it has fewer than two snapshots") from None
            raise
        return line

    def _read(self) -> JSON:
        try:
            line = self._lines.readline(_MAX_LINE)
            if not line:
                raise EOFError
            if not line.endswith("\n"):
                log.warning("the last line of %s is cut short, and is left out", self._name)
                raise EOFError
            value = json.loads(line)
        except (ValueError, RecursionError) as error:  # also bytes that are not UTF-8
            raise self._damaged("a line is not JSON") from error
        if not isinstance(value, dict):
            raise self._damaged("a line is not an object")
        if "look" in value:
            self._note(value)
        return value

    def _note(self, line: JSON) -> None:
        """Keeps what was seen of a single cgroup, for `look`."""
        try:
            seen = Seen(*line["seen"])
        except (KeyError, TypeError) as error:
            raise self._damaged("a line is not what was seen of a cgroup") from error
        if not all(each is None or isinstance(each, int) for each in seen):
            raise self._damaged("a line is not what was seen of a cgroup")
        self._seen[str(line["look"])] = seen

    def _damaged(self, what: str) -> InputDamaged:
        return InputDamaged(f"{self._name} can't be replayed: {what}", "save the run again")


def _snapshot(line: JSON) -> Snapshot:
    """A snapshot of a line's values. Raises for anything that can't be one."""
    ids = _column(line["ids"], 1)
    if np.any(ids[1:] <= ids[:-1]):
        raise ValueError("ids are not sorted")
    by_cpu = line["cpu_ns_by_cpu"]
    columns = {
        "cpu_ns": _column(line["cpu_ns"], 1),
        "switches": None if line["switches"] is None else _column(line["switches"], 1),
        "cpu_ns_by_cpu": None if by_cpu is None or not by_cpu else _column(by_cpu, 2),
    }
    if any(each is not None and len(each) != len(ids) for each in columns.values()):
        raise ValueError("columns differ in length")
    scalars = {name: line[name] for name in SCALARS}
    numbers = [each for name, each in scalars.items() if name != "time"]
    if not all(isinstance(each, int) and 0 <= each < 1 << 100 for each in numbers):
        raise TypeError("a number is missing, or too large")
    if not math.isfinite(scalars["time"]):
        raise ValueError("no time")
    probe = line["probe"]
    if probe is not None:
        probe = Probe(**probe | {"offline_cpus": tuple(probe["offline_cpus"])})
    return Snapshot(ids=ids, **columns, **scalars, probe=probe)


def _width(snapshot: Snapshot) -> int:
    """Columns of the times by CPU, 0 where there are none."""
    by_cpu = snapshot.cpu_ns_by_cpu
    return 0 if by_cpu is None or not len(by_cpu) else int(by_cpu.shape[1])


def _require_text(*values: object) -> None:
    """Raises TypeError or ValueError for what can't be the name of a file."""
    for each in values:
        if not isinstance(each, str):
            raise TypeError("a name is no text")
        os.fsencode(each)


def _column(values: Any, dimensions: int) -> Any:
    column = np.array(values, dtype=object)
    if column.size == 0:
        return np.zeros((0,) * dimensions, dtype=np.uint64)
    if column.ndim != dimensions or not all(type(each) is int for each in column.flat):
        raise ValueError("not a column of counters")
    return column.astype(np.uint64)  # raises OverflowError for what is negative or too large
