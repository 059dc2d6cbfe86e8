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
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "cgbpf", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=cwd,
        env=None if env is None else os.environ | env,
        timeout=timeout_s,
    )
    out, err = (os.fsdecode(each) for each in (done.stdout, done.stderr))
    # Not text=True, which makes a newline of a carriage return in a name.
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)
