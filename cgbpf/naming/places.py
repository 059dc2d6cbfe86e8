"""The paths of all ids seen so far, kept after the cgroups are gone."""

from __future__ import annotations

from collections.abc import Iterable

from cgbpf.hierarchy import Hierarchy
from cgbpf.naming.handles import HandleRefused, Handles


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
        missing = [each for each in ids if each not in paths]
        if missing:
            self._look_up(missing)
        return [paths[each] for each in ids]

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
                find = self._handles.path
                self._paths.update((each, find(each)) for each in ids)
                return
            except HandleRefused:
                self.close()
        found = dict(self._hierarchy.walk())
        self._paths.update((each, found.get(each)) for each in ids)

    def close(self) -> None:
        if self._handles is not None:
            self._handles.close()
            self._handles = None
