"""The one place that decides which source is used."""

from __future__ import annotations

from collections.abc import Sequence

from cgbpf.errors import CgbpfError
from cgbpf.hierarchy import Hierarchy, mounted, perf_hierarchy
from cgbpf.sources.base import Source
from cgbpf.sources.loading import Loading

KINDS = ("auto", "bpf", "files")


def open_source(kind: str = "auto", mounts: Sequence[Hierarchy] | None = None) -> Source:
    """The source `kind` on the hierarchy that perf filters on.

    Only "auto" falls back; the reason is then in `fallback_reason`.
    """
    mounts = mounted() if mounts is None else mounts
    hierarchy = perf_hierarchy(mounts)
    reason = None
    if kind != "files":
        try:
            loading = Loading(hierarchy)
            from cgbpf.sources.bpf import BpfSource  # NumPy, while the child compiles

            return BpfSource(hierarchy, loading=loading)
        except CgbpfError as error:
            if kind == "bpf":
                raise
            reason = error.message
    from cgbpf.sources.files import FilesSource

    source = FilesSource(hierarchy, mounts)
    source.fallback_reason = reason
    return source
