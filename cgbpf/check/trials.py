"""Finds out by trying: BCC, the probe, perf and its -G.

What is foreseen to fail becomes part of the facts; nothing is left behind.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from cgbpf.check.facts import Perf, Sources, Trees, Trial
from cgbpf.errors import CgbpfError, SourceUnavailable
from cgbpf.hierarchy import Hierarchy
from cgbpf.perf import events
from cgbpf.perf.argv import record_arguments
from cgbpf.perf.process import PerfRecord, PerfRefused, explain

_FREQUENCY = 99
_TIMEOUT_S = 20

# PyPI's bcc is another project: only the real one has BPF.
_IMPORT_BCC = """
import json, bcc
place = bcc.__file__
from bcc import BPF
print(json.dumps([bcc.__version__, place]))
"""


def perf() -> Perf:
    """What perf has, asked in the order in which `record` needs it."""
    known = Perf()
    try:
        known = replace(known, path=events.find_perf())
        known = replace(known, version=events.version())
        events.require_cgroups()
        known = replace(known, by_cgroup=True)
        return replace(known, event=events.default_event())
    except CgbpfError as error:
        return replace(known, error=error)


def sources(trees: Trees) -> Sources:
    """The parts of the BPF source, then both sources."""
    found = libraries(bcc(Sources()))
    if trees.ranked is None:
        error = trees.error or SourceUnavailable("the cgroup hierarchies are not known")
        return replace(found, bpf_error=error, files_error=error)
    return replace(
        probe(found, trees.ranked),
        files_error=files(trees, trees.ranked),
        handles_error=handles(trees.ranked),
    )


def bcc(found: Sources) -> Sources:
    """Whether the interpreter that will run the loader can import BCC.

    In a process of its own, as isolated as the loader's: the import would
    keep 74 MB in this one.
    """
    done = subprocess.run(
        [sys.executable, "-I", "-c", _IMPORT_BCC],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=_TIMEOUT_S,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return replace(found, bcc_error=said[-1])
    version, place = json.loads(done.stdout.splitlines()[-1])
    return replace(found, bcc=str(version), bcc_place=str(Path(place).parent))


def libraries(found: Sources) -> Sources:
    """libbpf, and through it the kernel's types."""
    import ctypes

    from cgbpf.sources.bpf_loader import kernel_constants
    from cgbpf.sources.libbpf import library

    try:
        tell = library().libbpf_version_string
    except (OSError, AttributeError):  # none, or one before 1.0
        return found
    tell.restype = ctypes.c_char_p
    version = (tell() or b"").decode(errors="replace").removeprefix("v")
    return replace(found, libbpf=version, types=len(kernel_constants()))


def probe(found: Sources, ranked: Hierarchy) -> Sources:
    """Loads and attaches the real probe, reads it once, and takes it away."""
    try:
        return _loaded(found, ranked)
    except CgbpfError as error:
        # With a libbpf, only what the kernel says of the flush is an OSError.
        flush = found.libbpf is not None and isinstance(error.__cause__, OSError)
        return replace(found, bpf_error=error, flush_refused=flush)
    except OSError as error:
        return replace(found, bpf_error=SourceUnavailable(str(error)))


def _loaded(found: Sources, ranked: Hierarchy) -> Sources:
    from cgbpf.sources.bpf import BpfSource

    begun = time.monotonic()
    with contextlib.closing(BpfSource(ranked)) as source:
        loaded = time.monotonic()
        snapshot = source.snapshot()
        read = time.monotonic()
    return replace(
        found,
        load_ms=1e3 * (loaded - begun),
        snapshot_ms=1e3 * (read - loaded),
        offline_cpus=snapshot.probe.offline_cpus if snapshot.probe else (),
    )


def files(trees: Trees, ranked: Hierarchy) -> CgbpfError | None:
    """Why the files source can't be used, None if it can."""
    from cgbpf.sources.files import FilesSource

    try:
        FilesSource(ranked, trees.mounts).close()
    except CgbpfError as error:
        return error
    return None


def handles(ranked: Hierarchy) -> str:
    """Why cgroups can't be opened by id, "" if they can. The root's id is tried."""
    from cgbpf.naming.handles import HandleRefused, Handles

    try:
        opened = Handles(ranked)
    except OSError as error:
        return error.strerror or str(error)
    try:
        found = opened.path(ranked.cgroup_id("/") or 1)
    except HandleRefused as refused:
        return str(refused)
    finally:
        opened.close()
    return "" if found == "/" else "the kernel gives another directory for an id"


def trial(perf: Perf, trees: Trees) -> Trial:
    """Starts `perf record -G` as `record` does, until it says that it records."""
    if perf.path is None or perf.event is None or trees.ranked is None:
        return Trial()
    try:
        try:
            _record(perf.path, perf.event, trees.sample[1:] or "/")
        except PerfRefused:
            # Of one that vanished, perf may also say that the event is not supported.
            if trees.ranked.cgroup_id(trees.sample) is not None:
                raise
            _record(perf.path, perf.event, "/")
            return Trial("/")
    except PerfRefused as refused:
        return Trial(trees.sample, explain(refused))
    except CgbpfError as error:
        return Trial(trees.sample, error)
    return Trial(trees.sample)


def _record(perf: str, event: str, name: str) -> None:
    """Raises PerfRefused with perf's words."""
    with tempfile.TemporaryDirectory(prefix="cgbpf-check-") as folder:

        def arguments(control: tuple[int, int]) -> list[str]:
            made = record_arguments(
                perf, f"{folder}/perf.data", _FREQUENCY, [event], [name], control
            )
            # Neither is wanted, and to wait for both would take a second.
            return [*made, "--no-bpf-event", "--no-buildid"]

        running = PerfRecord(arguments)
        try:
            running.enable()
        finally:
            running.stop()
            running.close()
