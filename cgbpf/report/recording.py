"""What was recorded and why: the manifest, and the table that ends `record`."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from cgbpf.model import JSON, SCHEMA
from cgbpf.perf.recording import Plan, Recording
from cgbpf.report.ranking import row_object
from cgbpf.report.table import grid, number
from cgbpf.report.text import encodable


def manifest(recording: Recording, plan: Plan, header: JSON, version: str) -> JSON:
    """The object that manifest.json holds. `header`: of the ranking it began with."""
    return {
        "schema": SCHEMA,
        **{key: header[key] for key in ("source", "fallback_reason", "hierarchy", "window_s")},
        "mode": "cgroup",
        "host": header["host"],
        "started": recording.started,
        "recorded_s": recording.recorded_s,
        "interrupted": recording.interrupted,
        "problem": None if recording.problem is None else encodable(str(recording.problem)),
        "frequency": plan.frequency,
        "events": list(recording.events),
        "command": [encodable(part) for part in plan.command],
        "command_exit": recording.command_exit,
        "perf": {
            "argv": [encodable(part) for part in recording.argv],
            "version": version,
            "exit": recording.exit,
        },
        "cgroups": [_cgroup(recording, index) for index in range(len(recording.rows))],
        "dropped": [
            {"path": encodable(path), "reason": encodable(reason)}
            for path, reason in recording.dropped
        ],
    }


def _cgroup(recording: Recording, index: int) -> JSON:
    counts = recording.events_of(index)
    known = [count for count in counts.values() if count is not None]
    return {
        **row_object(recording.rows[index]),
        "event": next(iter(counts)),
        "samples": sum(known) if known else None,
        "samples_by_event": counts,
    }


def chosen_table(recording: Recording) -> Table:
    """What was chosen, by how much CPU it used, and the samples each got."""
    events = list(recording.events)
    samples = ["SAMPLES"] if len(events) == 1 else [f"SAMPLES {event}" for event in events]
    rows = []
    for index, row in enumerate(recording.rows):
        counts = recording.events_of(index).values()
        cells: list[Any] = [row.name, row.kind, number(row.cpu_percent), number(row.host_percent)]
        cells += ["NA" if count is None else str(count) for count in counts]
        rows.append([*cells, row.path])
    headings = ["NAME", "KIND", "CPU%", "HOST%", *samples, "CGROUP"]
    return grid(headings, rows, left=("NAME", "KIND", "CGROUP"))


def summary(recording: Recording, source: str) -> str:
    """One line: what the choice rests on."""
    ranked = recording.ranking
    chosen = sum(row.cpu_ns for row in recording.rows)
    share = 100 * chosen / max(ranked.units_ns, 1)
    return (
        f"Chosen by CPU used in {ranked.interval.window_s:.2f} s, counted by {source}: "
        f"{len(recording.rows)} of {ranked.units} units, {share:.1f}% of all units' CPU; "
        f"recorded for {recording.recorded_s:.1f} s."
    )
