"""Runs the command line as a user does: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def cgbpf(
    *arguments: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 60.0,
    prefix: tuple[str, ...] = (),
) -> subprocess.CompletedProcess[str]:
    """`cgbpf ARGUMENTS`, with its output as text; `prefix` may be setpriv or the like."""
    return subprocess.run(
        [*prefix, sys.executable, "-m", "cgbpf", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="surrogateescape",
        cwd=cwd,
        env=None if env is None else os.environ | env,
        timeout=timeout_s,
    )
