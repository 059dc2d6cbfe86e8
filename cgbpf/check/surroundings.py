"""The rules for what is around cgbpf: runtimes, privileges, settings, limits. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from cgbpf.check.facts import Facts
from cgbpf.check.granting import NEEDED, USEFUL, lacking, way_to_grant
from cgbpf.check.lines import OK, WARNING, Check

DEFAULT_LIMIT = 50
"""How many cgroups `record` takes unless told otherwise."""
_MEANINGS = {
    ("kernel.unprivileged_bpf_disabled", "1"): ": BPF needs CAP_BPF",
    ("kernel.unprivileged_bpf_disabled", "2"): ": BPF needs CAP_BPF",
    ("kernel.kptr_restrict", "1"): ": kernel addresses need CAP_SYSLOG",
    ("kernel.kptr_restrict", "2"): ": kernel addresses are hidden from all",
}
"""Documentation/admin-guide/sysctl/kernel.rst."""
_PERFS_OWN_FILES = 32
"""perf 6.1 starts with 16 descriptors, and opens one more for each event."""


def host(facts: Facts) -> Iterator[Check]:
    host = facts.host
    yield Check("kernel", OK, f"Linux {host.kernel}, {host.machine}, {host.cpus} CPUs")
    yield Check("python", OK, f"{host.python}, {host.interpreter}")


def runtimes(facts: Facts) -> Iterator[Check]:
    seen = facts.runtimes
    parts = [*seen.programs, *seen.sockets, *(["systemd is process 1"] if seen.systemd else [])]
    yield Check("runtimes", OK, ", ".join(parts) or "none seen")
    kinds = Counter(each.kind for each in facts.trees.containers)
    counts = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    yield Check("containers", OK, counts or "none running")


def privileges(facts: Facts) -> Iterator[Check]:
    have = facts.privileges
    missing, wanting = lacking(have.held, NEEDED), lacking(have.held, USEFUL)
    found = f"uid {have.uid}; " + (
        f"lacks {', '.join(missing)}" if missing else "has what it needs"
    )
    if missing:
        todo = way_to_grant(have, facts.host, facts.perf.path)
        yield Check("capabilities", WARNING, found, todo)
    else:
        yield Check("capabilities", OK, found)
    if wanting:
        todo = "; ".join(f"{name} gives {USEFUL[name]}" for name in wanting)
        yield Check("useful ones", WARNING, f"lacks {', '.join(wanting)}", todo)
    else:
        yield Check("useful ones", OK, "has them all")


def settings(facts: Facts) -> Iterator[Check]:
    for name, value in facts.settings.sysctls.items():
        if value is None:
            yield Check(_brief(name), OK, "not on this kernel")
        else:
            yield _sysctl(facts, name, value)
    yield _symbols(facts)
    yield _lockdown(facts.settings.lockdown)


def _brief(sysctl: str) -> str:
    """A line's name: all are in "kernel.", and 80 columns are few."""
    return sysctl.removeprefix("kernel.")


def _sysctl(facts: Facts, name: str, value: str) -> Check:
    if name == "kernel.perf_event_paranoid":
        return _paranoid(facts, name, value)
    if name == "kernel.bpf_stats_enabled" and value != "0":
        todo = f"sysctl {name}=0: it makes each call of the probe 50 ns dearer"
        return Check(_brief(name), WARNING, value, todo)
    return Check(_brief(name), OK, f"{value}{_MEANINGS.get((name, value), '')}")


def _paranoid(facts: Facts, name: str, value: str) -> Check:
    """A system-wide event needs CAP_PERFMON or a value of 0 or less (perf-security)."""
    if not lacking(facts.privileges.held, ("CAP_PERFMON",)):
        return Check(_brief(name), OK, f"{value}, no hindrance with CAP_PERFMON")
    if value.lstrip("-").isdigit() and int(value) <= 0:
        return Check(_brief(name), OK, value)
    todo = f"see capabilities; or, for all users: sysctl {name}=0"
    return Check(_brief(name), WARNING, f"{value}: perf by cgroup is not for this user", todo)


def _symbols(facts: Facts) -> Check:
    if facts.settings.kernel_symbols:
        return Check("kernel symbols", OK, "shown")
    todo = "give CAP_SYSLOG, too; sysctl kernel.kptr_restrict=1 if that is 2"
    return Check("kernel symbols", WARNING, "hidden: perf can't name kernel functions", todo)


def _lockdown(mode: str | None) -> Check:
    if mode == "confidentiality":
        todo = "BPF may not read kernel memory: boot with lockdown=integrity"
        return Check("lockdown", WARNING, mode, todo)
    return Check("lockdown", OK, mode or "not on this kernel")


def limits(facts: Facts) -> Iterator[Check]:
    yield _open_files(facts.limits.open_files, facts.host.cpus)
    locked = facts.limits.locked_bytes
    found = "no limit" if locked < 0 else f"{locked >> 10} KiB"
    yield Check("locked memory", OK, found)


def _open_files(limit: int, cpus: int) -> Check:
    """Whether perf may open one for each cgroup, CPU and event."""
    needed = DEFAULT_LIMIT * cpus + _PERFS_OWN_FILES
    room = (limit - _PERFS_OWN_FILES) // cpus
    if limit < 0:
        return Check("open files", OK, "no limit")
    if limit >= needed:
        return Check("open files", OK, f"{limit}: room for {room} cgroups on {cpus} CPUs")
    return Check(
        "open files",
        WARNING,
        f"{limit}: room for {max(room, 0)} cgroups on {cpus} CPUs, not {DEFAULT_LIMIT}",
        f"ulimit -n {needed}, or record --limit {max(room, 1)}",
    )
