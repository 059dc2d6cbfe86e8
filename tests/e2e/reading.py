"""What a recording holds, told by perf itself and by the manifest."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple


class Sample(NamedTuple):
    """Whose sample it is."""

    comm: str
    pid: int
    event: str


def samples(data: Path) -> Counter[Sample]:
    """How often each process was sampled by each event, by `perf script`."""
    told = subprocess.run(
        ["perf", "script", "-i", str(data), "-F", "comm,pid,event"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: Counter[Sample] = Counter()
    for line in filter(None, map(str.strip, told.stdout.splitlines())):
        match = re.fullmatch(r"(.+?)\s+(\d+)\s+(\S+):", line)
        assert match, f"unexpected line of perf script: {line!r}"
        found[Sample(match[1], int(match[2]), match[3])] += 1
    return found


def pids(found: Counter[Sample], event: str | None = None) -> set[int]:
    """The processes sampled, by `event` only if given."""
    return {each.pid for each in found if event in (None, each.event)}


def manifest(folder: Path) -> dict[str, Any]:
    """What the recording says of itself."""
    return dict(json.loads((folder / "manifest.json").read_text()))
