#!/usr/bin/env python3
"""Shows cgbpf at work: three cgroups made like Docker's, one of them hot.

Starts a known load in each, runs the very command a user would, checks that
it found the hot one, and takes away everything but the profile, also after
Ctrl-C. Run by `make demo`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# Run as a file, only tools/ itself is on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cgbpf.errors import CgbpfError
from tools.known_load import HOT_FUNCTIONS, Cgroup, Load, interrupted_once

DEFAULT_OUTPUT = Path("demo-profile")
_WRITTEN = ("manifest.json", "perf.data", "perf.data.old")
_OURS = re.compile(r"/docker/de30[0-9a-f]{60}")
_PATIENCE_S = 15.0


class DemoFailed(Exception):
    """What went wrong, as one line for people."""


class Role(NamedTuple):
    """One of the demo's containers."""

    name: str
    percent: float
    function: str

    @property
    def short_id(self) -> str:
        """The 12 characters that people see: "demo", and the share of a CPU."""
        return f"de30{self.percent:08.0f}"

    def path(self) -> str:
        """A new cgroup path, like that of a container of Docker's cgroupfs driver."""
        return f"/docker/{self.short_id}{secrets.token_hex(26)}"


ROLES = (
    Role("hot", 90, "crc32"),
    Role("warm", 30, "adler32"),
    Role("nearly idle", 3, "adler32"),
)
HOT = ROLES[0]


class Running(NamedTuple):
    """A role that is being played."""

    role: Role
    path: str
    load: Load


@contextlib.contextmanager
def loads() -> Iterator[list[Running]]:
    """The demo's cgroups with their loads, all gone afterwards."""
    with contextlib.ExitStack() as stack:
        running = []
        for role in ROLES:
            cgroup = stack.enter_context(Cgroup(role.path()))
            name = f"{role.name.split()[-1]}-load"
            load = Load(role.percent, cgroup.directories, name, role.function)
            running.append(Running(role, cgroup.path, stack.enter_context(load)))
        yield running


def make_way(output: Path) -> None:
    """Removes the profile of a former demo; leaves alone whatever is not one."""
    if not output.is_dir() or not any(output.iterdir()):
        return
    if not is_demo_profile(output):
        raise DemoFailed(f"{output} is not empty and not of a former demo; name another --output")
    for name in _WRITTEN:
        (output / name).unlink(missing_ok=True)
    if any(output.iterdir()):
        raise DemoFailed(f"{output} holds other files too; name another --output")


def is_demo_profile(folder: Path) -> bool:
    """Whether a cgroup that only the demo makes is in its manifest."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        return any(_OURS.fullmatch(each["path"]) for each in manifest["cgroups"])
    except (OSError, ValueError, LookupError, TypeError):
        return False


def run_shown(command: Sequence[str]) -> int:
    """Runs a command whose output the user sees; never leaves it running."""
    print(f"\n$ {shlex.join(['cgbpf', *command[1:]])}", flush=True)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        return process.wait()
    except KeyboardInterrupt:
        # From a terminal it got the Ctrl-C too, and is writing its profile.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3)
        raise
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def record(output: Path) -> None:
    """Runs `cgbpf record`, just as the user would."""
    cgbpf = Path(sys.executable).with_name("cgbpf")
    if not cgbpf.exists():
        raise DemoFailed(f"{cgbpf} is not there; run make install")
    code = run_shown(
        [str(cgbpf), "record", "--limit", "2", "--duration", "5", "--output", str(output)]
    )
    if code:
        raise DemoFailed(f"cgbpf record ended with code {code}")


def check(output: Path, running: Sequence[Running]) -> None:
    """Raises DemoFailed unless the hot container is on top, with samples."""
    for each in running:
        if not each.load.running:
            raise DemoFailed(f"the {each.role.name} load ended by itself")
    top = _top(output)
    hot = next(each for each in running if each.role is HOT)
    if top["path"] != hot.path:
        raise DemoFailed(
            f"{top['path']} used more CPU than the demo's hot container; is this host busy? "
            "Stop that, and run the demo again"
        )
    if not top["samples"]:
        raise DemoFailed("perf recorded no samples of the hot container; see cgbpf check")


def _top(output: Path) -> dict[str, Any]:
    try:
        top = json.loads((output / "manifest.json").read_text())["cgroups"][0]
    except (OSError, ValueError, LookupError) as error:
        raise DemoFailed(f"{output / 'manifest.json'} can't be read: {error!r}") from error
    return dict(top)


def say_what_starts(running: Sequence[Running]) -> None:
    print("Three containers, made like Docker's, each with a known load:")
    for role, path, load in running:
        print(f"  {role.name:12} {role.percent:3.0f} % of a CPU  {path[:27]}...  pid {load.pid}")
    print("cgbpf is to find the hottest two among all cgroups of this host, and record only them.")


def say_what_came(output: Path) -> None:
    data = shlex.quote(str(output / "perf.data"))
    symbol = HOT_FUNCTIONS[HOT.function]
    print(
        f"\nRight: the hot container {HOT.short_id} is on top.\n"
        f"The profile is in {output}; its code is to be found in {symbol}. Look at it with:\n"
        f"  perf report -i {data}\n"
        f"  perf report -i {data} --stdio --no-children -g none --sort comm,dso,symbol\n"
        f"  perf script -i {data} -F comm,pid,event,ip,sym | less"
    )


def demo(output: Path) -> None:
    if os.geteuid() != 0:
        raise DemoFailed("making cgroups and recording them needs root; try sudo make demo")
    make_way(output)
    with loads() as running:
        say_what_starts(running)
        record(output)
        check(output, running)
    say_what_came(output)


def main() -> int:
    """The command: exits 0 if the demo went as it should."""
    parser = argparse.ArgumentParser(description="Starts a known load and lets cgbpf find it.")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="for the profile")
    output = parser.parse_args().output
    try:
        with interrupted_once():
            demo(output)
    except KeyboardInterrupt:
        print("demo: interrupted; all but the profile is cleaned up", file=sys.stderr)
        return 130
    except (DemoFailed, CgbpfError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
