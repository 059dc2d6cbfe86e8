"""What the facts mean. Pure: no file, no process, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cgbpf.check import needs, surroundings
from cgbpf.check.facts import Facts
from cgbpf.check.lines import PROBLEM, WARNING, Check, Report
from cgbpf.errors import CgbpfError

JUDGES: tuple[tuple[str, Callable[[Facts], Iterator[Check]]], ...] = (
    ("host", surroundings.host),
    ("perf", needs.perf),
    ("trees", needs.trees),
    ("sources", needs.sources),
    ("trial", needs.trial),
    ("runtimes", surroundings.runtimes),
    ("privileges", surroundings.privileges),
    ("settings", surroundings.settings),
    ("limits", surroundings.limits),
)
"""In the order in which `record` meets what they judge."""

NEEDED = frozenset({"perf", "trees", "sources", "trial"})
"""Without knowing these, it is not known whether `record` works."""


def decide(facts: Facts) -> Report:
    """Judges all the facts; a rule that fails is a line, too."""
    checks: list[Check] = []
    for name, judge in JUDGES:
        if name in facts.faults:
            checks.append(_fault(name, facts.faults[name]))
            continue
        try:
            checks += list(judge(facts))
        except Exception as error:
            checks.append(_fault(name, repr(error)))
    source, reason = chosen_source(facts)
    return Report(checks, source, reason)


def _fault(name: str, why: str) -> Check:
    """A check that failed itself. Whether `record` works is then not known."""
    found, todo = f"this check itself failed: {why}", "run with -v and report it"
    if name in NEEDED:
        return Check(name, PROBLEM, found, todo, CgbpfError.exit_code)
    return Check(name, WARNING, found, todo)


def chosen_source(facts: Facts) -> tuple[str | None, str | None]:
    """What `--source auto` will take, and why that is not BPF."""
    if "sources" in facts.faults or "trees" in facts.faults:
        return None, None
    found = facts.sources
    if found.load_ms is not None:
        return "bpf", None
    reason = found.bpf_error.message if found.bpf_error else None
    return (None if found.files_error else "files"), reason
