"""What perf recorded, counted per event."""

from __future__ import annotations

import re

from cgbpf.perf.events import find_perf, run

_TIMEOUT_S = 600.0
"""Gigabytes are counted in a minute."""


def samples_by_event(output: str) -> dict[str, int]:
    """Samples in a perf.data by event name; events without samples are left out.

    Raises ValueError with perf's words where the file can't be read.
    """
    told = run([find_perf(), "report", "--stats", "-i", output], timeout_s=_TIMEOUT_S)
    if told.returncode:
        raise ValueError(told.stderr.strip() or f"perf report ended with {told.returncode}")
    counts: dict[str, int] = {}
    event = None
    for line in told.stdout.splitlines():
        if line.endswith(" stats:") and not line.startswith(" "):
            event = line.removesuffix(" stats:")
        found = re.match(r"\s+SAMPLE events:\s+(\d+)", line)
        if found and event and event != "Aggregated":
            counts[event] = int(found[1])
    return counts
