"""Keeps what a source gave as JSON lines, for `recorded` to replay.

The first line is a header, every other one a snapshot, or what was seen of
one cgroup when it was looked at. Paths stand where an id first appears.
Columns are written as lists: what is exact stays exact, as JSON's numbers are
integers of any size.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from cgbpf.errors import OutputRefused
from cgbpf.model import JSON, SCHEMA, Seen, Snapshot
from cgbpf.sources.base import Source

FORMAT = "cgbpf-run"
SCALARS = ("at_ns", "time", "inclusive", "cpus", "covered_ns", "idle_ns")
COLUMNS = ("ids", "cpu_ns", "switches", "cpu_ns_by_cpu")


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
                "format": FORMAT,
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
        line: JSON = {name: getattr(snapshot, name) for name in SCALARS}
        for name in COLUMNS:
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
