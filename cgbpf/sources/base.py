"""The interface of every source."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from cgbpf.hierarchy import Hierarchy
from cgbpf.model import Seen, Snapshot


class Source(Protocol):
    """Counters of the cgroups of one hierarchy.

    A source is complete or it is not handed out: constructors raise
    `CgbpfError` and leave nothing behind. `tests/contract` holds all
    implementations to the same behaviour.
    """

    kind: str
    """"bpf", "files" or "recorded"."""
    hierarchy: Hierarchy
    fallback_reason: str | None
    """Why this is not the source that would have been best, else None."""

    def snapshot(self) -> Snapshot:
        """Counters now. Raises `EOFError` where a recording has no more."""
        ...

    def paths(self, ids: Iterable[int]) -> list[str | None]:
        """The path of each of `ids` from the hierarchy's root, with a leading
        slash: the last one known if the cgroup is gone, None if none ever was.
        """
        ...

    def all_paths(self) -> Iterable[str]:
        """The paths of all cgroups there are, those that never ran too."""
        ...

    def look(self, path: str) -> Seen:
        """What the kernel's files say of one cgroup."""
        ...

    def close(self) -> None:
        """Gives up everything held. Safe to call twice."""
        ...
