"""perf's arguments, right for any number of events and cgroups. Pure.

The n-th name given to -G belongs to the n-th -e. The obvious `-e E1 -e E2
-G a,b` gives a to E1 and b to E2; `-e E1 -e E1 -e E2 -e E2 -G a,b` leaves
both E2 without a cgroup, and they record the whole system. So every cgroup
gets its own events, each named at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cgbpf.errors import BadRequest

_MODIFIERS = re.compile(r":(?=[ukhIGHpPSDWeb]+$)")
_LABEL_LENGTH = 24


def event_name(index: int, cgroup: str, event: str) -> str:
    """What samples of `event` in the `index`-th `cgroup` are called in perf.data.

    Unique by the index, readable by the end of the cgroup's name; of the
    characters that perf's parser takes (tools/perf/util/parse-events.l).
    """
    label = re.sub(r"[^A-Za-z0-9_.-]+", "_", cgroup.rpartition("/")[2])
    label = re.sub(r"^(?:[a-z-]*-)?([0-9a-f]{12})[0-9a-f]{52}(?:\.scope)?$", r"\1", label)
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", event).strip("_")
    return f"cg{index}:{label[:_LABEL_LENGTH]}:{plain}"


def named_event(event: str, name: str) -> str:
    """`event` in perf's syntax, with a name: `cycles:u` -> `cycles/name=NAME/u`."""
    if event.count("/") >= 2:
        head, slash, modifiers = event.rpartition("/")
        comma = "" if head.endswith("/") else ","
        return f"{head}{comma}name={name}{slash}{modifiers}"
    base, *after = _MODIFIERS.split(event, maxsplit=1)
    return f"{base}/name={name}/{''.join(after)}"


def check_event(event: str) -> None:
    """Raises BadRequest for what is not one event."""
    outside = "".join(event.split("/")[::2])
    if not event.strip() or re.search(r"[\s,{}]", outside) or event.count("/") not in (0, 2):
        raise BadRequest(
            f"--event {event!r} is not one perf event", "repeat --event for several events"
        )
    if re.search(r"[/,]name=", event):
        raise BadRequest(
            f"--event {event!r} has a name", "leave it out: the name tells the sample's cgroup"
        )


def cgroup_arguments(events: Sequence[str], cgroups: Sequence[str]) -> list[str]:
    """`-e … -G …` for every cgroup: each event once, with a name of its own."""
    arguments: list[str] = []
    for index, cgroup in enumerate(cgroups):
        for event in events:
            arguments += ["-e", named_event(event, event_name(index, cgroup, event))]
        arguments += ["-G", ",".join([cgroup] * len(events))]
    return arguments


def record_arguments(
    perf: str,
    output: str,
    frequency: int,
    events: Sequence[str],
    cgroups: Sequence[str],
    control: tuple[int, int],
) -> list[str]:
    """The whole `perf record`: it starts disabled and waits for `enable` on `control`."""
    return [
        perf, "record", "-o", output, "-F", str(frequency), "-g", "-a",
        "-D", "-1", "--control", f"fd:{control[0]},{control[1]}",
        *cgroup_arguments(events, cgroups),
    ]  # fmt: skip
