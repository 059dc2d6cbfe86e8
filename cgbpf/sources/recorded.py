"""A run saved as JSON lines, and its replay through the same code.

The first line is a header, every other one a snapshot, or what was seen of
one cgroup when it was looked at. Paths stand where an id first appears.
Columns are written as lists: what is exact stays exact, as JSON's numbers are
integers of any size.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np

from cgbpf.errors import InputDamaged, OutputRefused
from cgbpf.hierarchy import Hierarchy
from cgbpf.model import JSON, SCHEMA, Probe, Seen, Snapshot
from cgbpf.sources.base import Source

log = logging.getLogger(__name__)

_FORMAT = "cgbpf-run"
_MAX_LINE = 1 << 28
"""Characters: ten times what 100,000 cgroups on 64 CPUs take."""
_COLUMNS = ("ids", "cpu_ns", "switches", "cpu_ns_by_cpu")
_SCALARS = ("at_ns", "time", "inclusive", "cpus", "covered_ns", "idle_ns")


class Saver:
    """A source that passes another one on, and writes what it gave to a file."""

    def __init__(self, source: Source, path: Path) -> None:
        self._source = source
        self.kind = source.kind
        self.hierarchy = source.hierarchy
        self.fallback_reason = source.fallback_reason
        self._known: set[int] = set()
        self._path = path
        try:
            self._file: IO[str] = path.open("x", encoding="ascii")
        except FileExistsError as error:
            raise OutputRefused(f"{path} exists", "name another file for --save") from error
        except OSError as error:
            raise OutputRefused(
                f"can't write {path}: {error.strerror}", "name another file for --save"
            ) from error
        self._write(
            {
                "format": _FORMAT,
                "schema": SCHEMA,
                "source": source.kind,
                "fallback_reason": source.fallback_reason,
                "hierarchy": {
                    "version": source.hierarchy.version,
                    "mount": source.hierarchy.mount,
                    "root": source.hierarchy.root,
                    "controllers": sorted(source.hierarchy.controllers),
                },
            }
        )

    def snapshot(self) -> Snapshot:
        snapshot = self._source.snapshot()
        new = [each for each in snapshot.ids.tolist() if each not in self._known]
        paths = dict(zip(new, self._source.paths(new), strict=True))
        self._known.update(each for each, path in paths.items() if path is not None)
        line: JSON = {name: getattr(snapshot, name) for name in _SCALARS}
        for name in _COLUMNS:
            column = getattr(snapshot, name)
            line[name] = None if column is None else column.tolist()
        line["paths"] = {str(each): path for each, path in paths.items()}
        line["gone"] = self._gone(snapshot.ids.tolist())
        line["probe"] = None if snapshot.probe is None else vars(snapshot.probe)
        self._write(line)
        return snapshot

    def _gone(self, ids: list[int]) -> list[int]:
        """Which of `ids` are no longer there, for a replay that asks for more rows."""
        find = self.hierarchy.cgroup_id
        places = zip(ids, self._source.paths(ids), strict=True)
        return [each for each, path in places if path is None or find(path) != each]

    def paths(self, ids: Iterable[int]) -> list[str | None]:
        return self._source.paths(ids)

    def all_paths(self) -> Iterable[str]:
        return self._source.all_paths()

    def look(self, path: str) -> Seen:
        seen = self._source.look(path)
        self._write({"look": path, "seen": list(seen)})
        return seen

    def close(self) -> None:
        self._file.close()
        self._source.close()

    def _write(self, line: JSON) -> None:
        # One write a line: a run that is cut short loses its last line at most.
        try:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.close()
            if not self._path.stat().st_size:
                self._path.unlink()
            raise OutputRefused(
                f"can't write {self._path}: {error.strerror}", "name another file for --save"
            ) from error


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
            if header.get("format") != _FORMAT or header.get("schema") != SCHEMA:
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
    scalars = {name: line[name] for name in _SCALARS}
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
