"""Runs the command line as a user does: in a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def default_signals() -> None:
    """For `preexec_fn`: a test run in the background, or under nohup, has some ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


UNSHARE = shutil.which("unshare") or "unshare"
HERE = Path(__file__).resolve().parents[2]

_OPEN_THE_WAY = """
blocked=$1 here=$2 path=$PATH
shift 2
PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount --make-rprivate /
exec 9<"$here"
mount -t tmpfs -o mode=755 none "$blocked"
mkdir -p "$here"
for each in /proc/self/fd/9/* /proc/self/fd/9/.venv; do
    name="$here/${each##*/}"
    if [ -d "$each" ]; then mkdir "$name"; else : >"$name"; fi
    mount --no-canonicalize --bind "$each" "$name"
done
exec 9<&-
PATH=$path
exec "$@"
"""
"""Shows this checkout under its own path, whatever the modes of the directories above it."""


def for_anybody() -> tuple[str, ...]:
    """What to put before a command run as another user: nothing, if the user can
    reach this checkout; else (below /root, say) a private view in which it can.
    """
    for folder in (*reversed(HERE.parents), HERE):
        if not folder.stat().st_mode & 0o001:
            return (UNSHARE, "-m", "/bin/sh", "-c", _OPEN_THE_WAY, "sh", str(folder), str(HERE))
    return ()


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
