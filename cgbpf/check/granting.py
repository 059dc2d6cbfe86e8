"""How the capabilities that are missing can be given. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Sequence

from cgbpf.check.facts import Host, Privileges

NEEDED = ("CAP_BPF", "CAP_PERFMON")
"""The probe, and perf by cgroup. CAP_PERFMON alone is what perf needs."""
USEFUL = {
    "CAP_DAC_READ_SEARCH": "paths without walking",
    "CAP_SYSLOG": "names of kernel functions",
    "CAP_SYS_PTRACE": "names of functions in other users' processes",
}
"""What is not needed, and what it is good for."""
_INCLUDED = {"CAP_BPF", "CAP_PERFMON", "CAP_SYSLOG"}
"""In CAP_SYS_ADMIN (capabilities(7))."""


def lacking(held: Collection[str], wanted: Iterable[str]) -> list[str]:
    """Those of `wanted` that neither are held nor stood in for."""
    included = _INCLUDED if "CAP_SYS_ADMIN" in held else set()
    return [each for each in wanted if each not in held and each not in included]


def way_to_grant(have: Privileges, host: Host, perf: str | None) -> str:
    """The commands that give what is needed to cgbpf and the perf that it starts."""
    unattainable = lacking(have.bounding, NEEDED)
    if unattainable:
        added = " ".join(f"--cap-add={each.removeprefix('CAP_')}" for each in unattainable)
        return f"they can only be given from outside, as by docker run {added}"
    ways = ["run as root"] if have.uid else []
    return "; or ".join([*ways, f"for one run: {once(have, host)}", for_good(host, perf)])


def once(have: Privileges, host: Host) -> str:
    """One run with ambient capabilities (setpriv(1)): perf inherits them.

    What is held already is in it, too: setpriv begins anew.
    """
    wanted = [*NEEDED, *(each for each in USEFUL if each in have.held)]
    names = ",".join(f"+{_short(each)}" for each in wanted)
    groups = "--init-groups" if have.named else "--clear-groups"
    as_user = [f"--reuid={have.uid}", f"--regid={have.gid}", groups]
    capabilities = [f"--inh-caps={names}", f"--ambient-caps={names}"]
    return shlex.join(["sudo", "setpriv", *as_user, *capabilities, *host.program, "record"])


def for_good(host: Host, perf: str | None) -> str:
    """File capabilities (setcap(8)); perf does not inherit those of Python."""
    commands = [_setcap(NEEDED, host.interpreter)]
    if perf:
        commands.append(_setcap(("CAP_PERFMON",), perf))
    return f"for good, for all that this Python runs: {' && '.join(commands)}"


def _setcap(names: Sequence[str], file: str) -> str:
    return shlex.join(["sudo", "setcap", f"{','.join(each.lower() for each in names)}=ep", file])


def _short(name: str) -> str:
    return name.removeprefix("CAP_").lower()
