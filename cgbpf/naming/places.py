"""The paths of all ids seen so far, kept after the cgroups are gone."""

from __future__ import annotations

from collections.abc import Iterable

from cgbpf.hierarchy import Hierarchy
from cgbpf.naming.handles import HandleRefused, Handles

_MANY = 32
"""Cgroups from which on listing their folder is cheaper than a handle for each."""


class Places:
    """Finds and keeps the path of each cgroup id of one hierarchy.

    Every id is looked up once: in cgroup2 a cgroup's path never changes.
    """

    def __init__(self, hierarchy: Hierarchy) -> None:
        self._hierarchy = hierarchy
        self._paths: dict[int, str | None] = {}
        self._handles: Handles | None = Handles(hierarchy)

    def find(self, ids: Iterable[int]) -> list[str | None]:
        """The path of each of `ids`, None where it was never known."""
        ids = list(ids)
        paths = self._paths
        found = list(map(paths.get, ids))
        if None not in found:
            return found
        self._look_up([each for each in ids if each not in paths])
        return list(map(paths.get, ids))

    def remember(self, cgroup_id: int, path: str) -> None:
        """Tells the last path of a cgroup that was removed."""
        self._paths[cgroup_id] = path

    def forget(self, ids: Iterable[int]) -> None:
        """Drops ids that will not be asked for again."""
        for each in ids:
            self._paths.pop(each, None)

    def _look_up(self, ids: list[int]) -> None:
        if self._handles is not None:
            try:
                self._open(ids, self._handles)
                return
            except HandleRefused:
                self.close()
        found = dict(self._hierarchy.walk())
        self._paths.update((each, found.get(each)) for each in ids)

    def _open(self, ids: list[int], handles: Handles) -> None:
        """Opens each id. Where many are missing, the siblings of each that is
        found are listed, too: 1 us instead of 8 for each of them.
        """
        missing = dict.fromkeys(ids)
        while missing:
            each = next(iter(missing))
            del missing[each]
            path = self._paths[each] = handles.path(each)
            if path is None or len(missing) < _MANY:
                continue
            parent = path.rpartition("/")[0]
            if self._hierarchy.count_children(parent) < _MANY:
                continue
            for sibling, sibling_path in self._hierarchy.children(parent):
                if sibling in missing:
                    del missing[sibling]
                    self._paths[sibling] = sibling_path

    def close(self) -> None:
        if self._handles is not None:
            self._handles.close()
            self._handles = None
