"""What a check says: its lines, and what they come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from cgbpf.errors import CgbpfError

OK, WARNING, PROBLEM = "ok", "warning", "problem"
"""A problem stands in the way of `cgbpf record`, a warning does not."""


class Check(NamedTuple):
    """One line of the report."""

    name: str
    status: str
    found: str
    todo: str = ""
    code: int = 0
    """The exit code of `record`, for a problem."""


@dataclass(frozen=True)
class Report:
    """All lines, and what they come to."""

    checks: list[Check]
    source: str | None
    """Where `record` will take its numbers from; None: from nowhere."""
    fallback_reason: str | None

    @property
    def exit_code(self) -> int:
        return next((each.code for each in self.checks if each.status == PROBLEM), 0)

    @property
    def ready(self) -> bool:
        return not any(each.status == PROBLEM for each in self.checks)


def problem(name: str, error: CgbpfError) -> Check:
    """The line for a failure that `record` would end with."""
    return Check(name, PROBLEM, error.message, remedy(error), error.exit_code)


def remedy(error: CgbpfError) -> str:
    """What to do about an error, but for the advice to look here."""
    parts = [part for part in error.hint.split("; ") if part != "see cgbpf check"]
    return "; ".join(parts).replace(" and cgbpf check", "") or "run with -v, and report it"
