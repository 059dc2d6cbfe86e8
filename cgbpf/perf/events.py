"""perf itself: where it is, what it can, and which event works here."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
from functools import lru_cache

from cgbpf.errors import BadRequest, PerfUnusable
from cgbpf.perf.argv import check_event, event_name, named_event

log = logging.getLogger(__name__)

DEFAULT_EVENTS = ("cycles", "cpu-clock")
"""Tried in this order. Virtual machines often have no hardware counters;
perf then takes cpu-clock for cycles, but drops the event's name."""

_TIMEOUT_S = 30


def run(
    arguments: list[str], timeout_s: float | None = _TIMEOUT_S
) -> subprocess.CompletedProcess[str]:
    """Runs perf to its end, output captured, in the C locale. Raises PerfUnusable."""
    log.debug("running %s", arguments)
    try:
        return subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=timeout_s,
            env=os.environ | {"LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PerfUnusable(f"perf can't be run: {error}", "apt install linux-perf") from error


def find_perf() -> str:
    """The path of perf. Raises PerfUnusable."""
    path = shutil.which("perf")
    if path is None:
        raise PerfUnusable("perf is not installed", "apt install linux-perf")
    return path


@lru_cache(maxsize=1)
def version() -> str:
    """Perf's version, for example "6.1.192"."""
    found = re.search(r"perf version (\S+)", run([find_perf(), "--version"]).stdout)
    if found is None:
        raise PerfUnusable(
            f"{find_perf()} does not tell its version", "install the perf of your kernel"
        )
    return found[1]


def require_cgroups() -> None:
    """Raises PerfUnusable if perf has no -G.

    `perf record -h` prints the options; --help would run man.
    """
    shown = run([find_perf(), "record", "-h"])
    if "--cgroup" not in shown.stdout + shown.stderr:
        raise PerfUnusable(
            f"perf {version()} can't filter by cgroup (it has no -G)", "install a newer linux-perf"
        )


def failure(event: str) -> str | None:
    """Why `event` counts nothing here, None if it does.

    perf stat prints words for a value where there is no such counter. It is
    tried with a name, since that is how it will be recorded: tracepoints, for
    one, can't be given any (perf 6.1), so their samples could not be told
    apart by cgroup.
    """
    counted = run([find_perf(), "stat", "-x", ";", "-e", named_event(event, "cg0"), "--", "true"])
    value, _, _ = counted.stderr.strip().partition(";")
    if counted.returncode:
        return " ".join(counted.stderr.partition("Run 'perf list'")[0].split())
    return None if re.fullmatch(r"[\d.]+", value) else value.strip("<>") or "it counts nothing"


@lru_cache(maxsize=1)
def default_event() -> str:
    """The first of `DEFAULT_EVENTS` that works. Raises PerfUnusable."""
    for event in DEFAULT_EVENTS:
        if failure(event) is None:
            return event
    raise PerfUnusable(
        f"perf can count neither {' nor '.join(DEFAULT_EVENTS)}",
        "see kernel.perf_event_paranoid and cgbpf check",
    )


def chosen_events(requested: tuple[str, ...]) -> list[str]:
    """The events to record: those requested, or the default one."""
    names = [event_name(0, "", event) for event in requested]
    for event in requested:
        check_event(event)
        if names.count(event_name(0, "", event)) > 1:
            raise BadRequest(f"--event {event!r} is given twice", "give each event once")
        problem = failure(event)
        if problem:
            raise PerfUnusable(
                f"perf can't record --event {event!r} by cgroup: {problem}",
                "see perf list; a tracepoint can't be named, so its cgroup could not be told",
            )
    return list(requested) or [default_event()]
