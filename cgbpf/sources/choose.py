"""The one place that decides which source is used."""

from __future__ import annotations

from collections.abc import Sequence

from cgbpf.errors import CgbpfError
from cgbpf.hierarchy import Hierarchy, mounted, ranked_hierarchy
from cgbpf.sources.base import Source
from cgbpf.sources.loading import Loading


def open_source(
    kind: str = "auto", mounts: Sequence[Hierarchy] | None = None, hierarchy: str = "auto"
) -> Source:
    """The source `kind` on `hierarchy`: "auto" is the one that perf filters on.

    Only "auto" falls back; the reason is then in `fallback_reason`.
    """
    mounts = mounted() if mounts is None else mounts
    ranked = ranked_hierarchy(mounts, hierarchy)
    reason = None
    if kind != "files":
        try:
            loading = Loading(ranked)
            from cgbpf.sources.bpf import BpfSource  # NumPy, while the child compiles

            return BpfSource(ranked, loading=loading, mounts=mounts)
        except CgbpfError as error:
            if kind == "bpf":
                raise
            reason = error.message
    from cgbpf.sources.files import FilesSource

    source = FilesSource(ranked, mounts)
    source.fallback_reason = reason
    return source
