"""What a cgroup path says of itself: which container, service or session.

A pure function of the path, with no daemon asked: the layouts are those that
the runtimes write (cgroupfs and systemd drivers).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

SHORT = 12
"""Characters of a container id that people use (docker ps)."""


class Identity(NamedTuple):
    """The unit a path belongs to."""

    path: str
    """The unit's own path: `path` itself or one of its ancestors."""
    name: str
    kind: str
    """"docker", "containerd", "crio", "podman", "container" (runtime unknown),
    "service", "scope", "session" or "cgroup"."""

    @property
    def is_container(self) -> bool:
        return self.kind in CONTAINER_KINDS


CONTAINER_KINDS = frozenset({"docker", "containerd", "crio", "podman", "container"})

# How runtimes name a container's cgroup: PREFIX-ID.scope (systemd driver),
# PREFIX-ID or the bare ID (cgroupfs driver), SLICE:cri-containerd:ID (containerd
# under systemd without its driver).
_CONTAINER = re.compile(r"(?:(?:[^/]+:)?(?P<prefix>[a-z-]+)[-:])?(?P<id>[0-9a-f]{64})(?:\.scope)?")
_PREFIXES = {
    "docker": "docker",
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
    "crio": "crio",
    "libpod": "podman",
}
_SYSTEMD = re.compile(r"(?P<name>[^/]+)\.(?P<suffix>service|scope)")
_SESSION = re.compile(r"session-[^/]+\.scope")
# What the component before a bare id says of the runtime.
_PARENTS = {"docker": "docker", "k8s.io": "containerd", "libpod_parent": "podman"}


@lru_cache(maxsize=1 << 16)
def identify(path: str) -> Identity:
    """The unit that a person means when the CPU is burnt in `path`.

    That is the outermost container (one inside another is its own business),
    else the innermost systemd service or scope, else the cgroup itself.
    """
    if not path.startswith("/"):  # its path was never seen
        return Identity(path, path, "cgroup")
    parts = path.split("/")[1:]
    for index, part in enumerate(parts):
        found = _container(parts, index, part)
        if found:
            kind, container_id = found
            return Identity("/" + "/".join(parts[: index + 1]), container_id[:SHORT], kind)
    for index in range(len(parts) - 1, -1, -1):
        if _SYSTEMD.fullmatch(parts[index]):
            kind = "scope" if parts[index].endswith(".scope") else "service"
            kind = "session" if _SESSION.fullmatch(parts[index]) else kind
            return Identity("/" + "/".join(parts[: index + 1]), parts[index], kind)
    return Identity(path, parts[-1] or "/", "cgroup")


def _container(parts: list[str], index: int, part: str) -> tuple[str, str] | None:
    """Kind and container id that a component tells, None if it is no container."""
    match = _CONTAINER.fullmatch(part)
    if match is None:
        return None
    prefix, container_id = match["prefix"], match["id"]
    if prefix is not None:
        kind = _PREFIXES.get(prefix)
        return None if kind is None else (kind, container_id)
    parent = parts[index - 1] if index else ""
    return _PARENTS.get(parent, "container"), container_id
