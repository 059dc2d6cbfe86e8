"""What a host can do, as a table or as JSON."""

from __future__ import annotations

import json

from rich.table import Table
from rich.text import Text

from cgbpf.check.lines import OK, PROBLEM, Check, Report
from cgbpf.model import SCHEMA
from cgbpf.report.table import grid
from cgbpf.report.text import encodable, shown


def as_json(report: Report) -> str:
    return json.dumps(
        {
            "schema": SCHEMA,
            "ready": report.ready,
            "exit_code": report.exit_code,
            "source": report.source,
            "fallback_reason": _encodable(report.fallback_reason),
            "checks": [
                {
                    "name": each.name,
                    "status": each.status,
                    "found": encodable(each.found),
                    "todo": encodable(each.todo),
                }
                for each in report.checks
            ],
        }
    )


def _encodable(text: str | None) -> str | None:
    return None if text is None else encodable(text)


def checks_table(report: Report) -> Table:
    rows = [(each.name, each.status, each.found) for each in report.checks]
    return grid(("CHECK", "STATUS", "FOUND"), rows, left=("CHECK", "STATUS", "FOUND"))


def todo_lines(report: Report) -> list[Text]:
    """What to do, problems first: a line for each way.

    A command stands at the end of its line. That has no_wrap: a terminal may
    fold it, but it can be copied whole.
    """
    waiting = [each for each in report.checks if each.status != OK and each.todo]
    waiting.sort(key=lambda each: each.status != PROBLEM)
    return [line for each in waiting for line in _ways(each)]


def _ways(check: Check) -> list[Text]:
    first, *others = shown(check.todo).split("; or ")
    texts = [f"{shown(check.name)}: {first}", *(f"  or {each}" for each in others)]
    return [Text(text, no_wrap=": sudo " in text) for text in texts]


def verdict(report: Report) -> Text:
    """The last line: whether `cgbpf record` will work, and with which source."""
    first = next((each for each in report.checks if each.status == PROBLEM), None)
    if first:
        return Text(
            f"cgbpf record will not work here: {shown(first.name)}: {shown(first.found)} "
            f"(exit code {report.exit_code})"
        )
    if report.source == "bpf":
        return Text("cgbpf record will work, with exact counts by BPF.")
    return Text(
        f"cgbpf record will work, with counts from the kernel's files: "
        f"{shown(report.fallback_reason or '')}"
    )
