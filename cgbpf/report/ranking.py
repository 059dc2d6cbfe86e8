"""A ranking as a table, JSON, CSV or perf arguments."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, fields

from cgbpf.model import JSON, SCHEMA, Ranking, Row
from cgbpf.report.text import encodable, shown
from cgbpf.sources.base import Source

CSV_COLUMNS = tuple(
    field.name for field in fields(Row) if field.name not in ("cpu_ns_by_cpu", "working_set_bytes")
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def row_object(row: Row, per_cpu: bool = False) -> JSON:
    """A row as the JSON contract has it."""
    made: JSON = {
        name: encodable(value) if isinstance(value, str) else value
        for name, value in asdict(row).items()
    }
    if made["perf_cgroup"] != row.perf_cgroup:
        made["perf_cgroup"] = None  # bytes that are no text: JSON can't hold perf's name
    by_cpu = made.pop("cpu_ns_by_cpu")
    if per_cpu:
        made["cpu_ns_by_cpu"] = None if by_cpu is None else list(by_cpu)
    return made


def ranking_object(result: Ranking, source: Source, per_cpu: bool = False) -> JSON:
    """The object that `cgbpf rank --format json` prints."""
    observed = result.interval
    probe = observed.probe
    return {
        "schema": SCHEMA,
        "source": source.kind,
        "hierarchy": {
            "version": source.hierarchy.version,
            "mount": encodable(source.hierarchy.mount),
        },
        "window_s": observed.window_s,
        "time": observed.time,
        "fallback_reason": source.fallback_reason,
        "host": {
            "cpus": observed.cpus,
            "total_ns": observed.total_ns,
            "units_ns": result.units_ns,
            "root_ns": result.root_ns,
            "idle_ns": observed.idle_ns,
            "unattributed_ns": observed.unattributed_ns,
            "probe": None if probe is None else asdict(probe),
        },
        "cgroups": [row_object(row, per_cpu) for row in result.rows],
        "dropped": [
            {"path": encodable(path), "reason": encodable(reason)}
            for path, reason in result.dropped
        ],
    }


def as_json(result: Ranking, source: Source, per_cpu: bool) -> str:
    return json.dumps(ranking_object(result, source, per_cpu))


def as_csv(result: Ranking, per_cpu: bool) -> str:
    """A header and a row a unit; `NA` = not measured. With `per_cpu`, a column a CPU."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    cpus = max((len(row.cpu_ns_by_cpu or ()) for row in result.rows), default=0) if per_cpu else 0
    writer.writerow([*CSV_COLUMNS, *(f"cpu{number}_ns" for number in range(cpus))])
    for row in result.rows:
        by_cpu = row.cpu_ns_by_cpu or (None,) * cpus
        values = [getattr(row, name) for name in CSV_COLUMNS] + list(by_cpu[:cpus])
        writer.writerow([_cell(value) for value in values])
    return text.getvalue()


def _cell(value: object) -> object:
    if value is None:
        return "NA"
    if not isinstance(value, str):
        return value
    # A spreadsheet runs what looks like a formula; a leading quote makes it text.
    safe = shown(value)
    return "'" + safe if safe.startswith(_FORMULA) else safe


def as_perf_arguments(arguments: Sequence[str]) -> str:
    """Arguments on one line, quoted only where a shell would take them apart."""
    return " ".join(map(shlex.quote, arguments))
