"""How a cgroup path is given to `perf record -G`."""

from __future__ import annotations

_PATH_MAX = 4096


def perf_name(path: str) -> str | None:
    """The name for -G, relative to the mount, None if perf can't take it.

    Names are separated by commas and taken literally. The root itself would
    be the whole system; a path that was never known has no name.
    """
    return None if refusal(path) else path[1:]


def refusal(path: str) -> str | None:
    """Why `perf record -G` can't take `path`, None if it can."""
    if not path.startswith("/"):
        return "its path is not known"
    if path == "/":
        return "it is the whole system"
    if "," in path:
        return "perf can't take a name with a comma"
    if len(path.encode(errors="surrogateescape")) > _PATH_MAX - 256:
        return "its path is too long for perf"
    return None
