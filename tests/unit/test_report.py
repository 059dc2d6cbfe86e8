"""Names from outside never break a table, a CSV, JSON or a shell."""

from __future__ import annotations

import csv
import io
import json
import shlex
import subprocess
import unicodedata
from dataclasses import replace

import pytest

from cgbpf.model import Dropped, Interval, Probe, Row
from cgbpf.report.ranking import (
    CSV_COLUMNS,
    as_csv,
    as_json,
    as_perf_arguments,
    ranking_object,
)
from cgbpf.report.table import host_line, lines, ranking_table
from cgbpf.report.text import encodable, shown
from tests.support.build import FakeSource, ranking, row

HOSTILE = {
    "newline": "a\nb",
    "carriage return": "a\rb",
    "tab": "a\tb",
    "escape sequence": "a\x1b[31;1mred\x1b]0;title\x07b",
    "backspace": "a\x08b",
    "C1 control": "a\x9b31mb",
    "right-to-left": "a\u202egnp.exe",
    "zero width": "a\u200bb",
    "line separator": "a\u2028b",
    "private use": "a\ue000b",
    "unassigned": "a\U000e0080b",
    "invalid UTF-8": "a\udcff\udc80b",
}
HARMLESS = [
    "plain",
    "grüße",
    "日本語",
    "a b",
    "[red]x",
    "[bold]",
    ":fire:",
    "\U0001f525",
    "e\u0301",
]


def table_of(*rows: Row, per_cpu: bool = False) -> str:
    result = replace(
        ranking(rows), score="cpu" if all(each.score == each.cpu_percent for each in rows) else "x"
    )
    return lines(ranking_table(result, per_cpu)) + "\n"


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_what_is_shown_is_one_line_of_printable_text(name: str) -> None:
    text = shown(name)
    assert text.encode("utf-8").decode() == text
    assert not [each for each in text if unicodedata.category(each)[0] == "C"]
    assert len(text.splitlines()) == 1
    assert text.startswith("a\\")


@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_harmless_is_shown_as_it_is(name: str) -> None:
    assert shown(name) == name
    assert encodable(name) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("\n", r"\x0a"),
        ("\udcff", r"\xff"),
        ("\u202e", r"\u202e"),
        ("\U000e0001", r"\U000e0001"),
    ],
)
def test_unsafe_characters_are_shown_by_their_number(name: str, expected: str) -> None:
    assert shown(name) == expected


def test_encodable_escapes_only_bytes_that_were_not_utf8() -> None:
    assert encodable("a\n\u202e\U0001f525\udcff") == "a\n\u202e\U0001f525\\xff"


@pytest.mark.parametrize("name", [*HOSTILE.values(), *HARMLESS])
def test_a_table_keeps_one_line_a_row_whatever_the_name(name: str) -> None:
    plain = table_of(row("/first"), row("/x/plain"), row("/last"))
    text = table_of(row("/first"), row(f"/x/{name}"), row("/last"))
    assert len(text.split("\n")) == len(plain.split("\n"))
    (line,) = [each for each in text.split("\n") if "/x/" in each]
    assert f"/x/{shown(name)}" in line
    assert line.startswith(shown(name))
    assert "\x1b" not in text
    text.encode("utf-8")


def test_a_table_says_what_is_gone_and_what_was_not_measured() -> None:
    text = table_of(row("/x/web", alive=False, memory_bytes=3 << 20, switches=12))
    assert "web (gone)" in text
    assert " 3.0 " in text
    assert " 12 " in text
    assert "NA" in table_of(row("/x/web"))


def test_a_table_shows_another_score_and_the_time_on_each_cpu() -> None:
    assert "SCORE" not in table_of(row("/a"))
    assert "SCORE" in table_of(row("/a", score=7.0))
    text = table_of(row("/a", cpu_ns_by_cpu=(1_500_000, 0)), per_cpu=True)
    assert "CPU0 ms" in text
    assert "CPU1 ms" in text
    assert " 1.5 " in text


def test_a_table_is_not_cut_where_there_is_no_terminal() -> None:
    path = "/kubepods/burstable/pod8b1d3f5e-0e2c-4d4c-9a35-1f2e3d4c5b6a/" + "a" * 64
    folded = "".join(table_of(row(path)).split())
    assert path in folded


def test_the_line_below_closes_the_account() -> None:
    used = row("/a", cpu_ns=500_000_000)
    line = host_line(ranking([used], root_ns=100_000_000), "bpf")
    for part in ("2 CPUs", "1.00 s", "by bpf", "units 25.0%", "kernel 5.0%", "idle 75.0%"):
        assert part in line
    assert "unattributed 0.0%" in line


def parsed(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv_has_the_contracts_columns() -> None:
    assert CSV_COLUMNS == (
        "id", "path", "name", "kind", "alive", "cpu_ns", "cpu_percent", "host_percent",
        "switches", "memory_bytes", "score", "perf_cgroup",
    )  # fmt: skip
    (only,) = parsed(as_csv(ranking([row("/a/web")]), per_cpu=False))
    assert tuple(only) == CSV_COLUMNS
    assert only["path"] == "/a/web"
    assert only["cpu_ns"] == "250000000"
    assert only["switches"] == only["memory_bytes"] == "NA"


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C'!A0"])
def test_csv_gives_no_spreadsheet_a_formula(start: str) -> None:
    (only,) = parsed(as_csv(ranking([row("/x/y", name=start, perf_cgroup=start)]), per_cpu=False))
    for field in ("name", "perf_cgroup"):
        assert only[field].lstrip()[:1] not in ("=", "+", "-", "@")
        assert shown(start) in only[field]


@pytest.mark.parametrize("name", ['a,"b",c', 'quote"', "semi;colon", *HOSTILE.values(), *HARMLESS])
def test_csv_keeps_one_record_a_row_whatever_the_name(name: str) -> None:
    text = as_csv(ranking([row("/first"), row(f"/x/{name}"), row("/last")]), per_cpu=False)
    text.encode("utf-8")
    records = parsed(text)
    assert [each["path"] for each in records] == ["/first", f"/x/{shown(name)}", "/last"]
    assert len(text.splitlines()) == 4


def test_csv_has_a_column_a_cpu_if_asked() -> None:
    rows = [row("/a", cpu_ns_by_cpu=(5, 6)), row("/b")]
    first, second = parsed(as_csv(ranking(rows), per_cpu=True))
    assert (first["cpu0_ns"], first["cpu1_ns"]) == ("5", "6")
    assert (second["cpu0_ns"], second["cpu1_ns"]) == ("NA", "NA")
    assert "cpu0_ns" not in parsed(as_csv(ranking(rows), per_cpu=False))[0]


@pytest.mark.parametrize("name", [*HOSTILE.values(), *HARMLESS])
def test_json_is_valid_utf8_and_keeps_the_name(name: str) -> None:
    text = as_json(ranking([row(f"/x/{name}")]), FakeSource(), per_cpu=False)
    (only,) = json.loads(text.encode("utf-8"))["cgroups"]
    json.dumps(only, ensure_ascii=False).encode("utf-8")  # no lone surrogate in it
    assert only["path"] == f"/x/{encodable(name)}"


def test_json_is_what_the_contract_says() -> None:
    probe = Probe(lost=1, map_used=2, map_max=3, offline_cpus=(1,))
    made = ranking([row("/a", cpu_ns_by_cpu=(1, 2))], dropped=[Dropped("/b\udcff", "no\udcff")])
    observed: Interval = replace(made.interval, probe=probe)
    made = replace(made, interval=observed)
    found = ranking_object(made, FakeSource(), per_cpu=True)
    assert json.loads(json.dumps(found)) | {"host": None} == {
        "schema": 1,
        "source": "recorded",
        "hierarchy": {"version": 2, "mount": "/nowhere"},
        "window_s": 1.0,
        "time": observed.time,
        "fallback_reason": None,
        "host": None,
        "cgroups": [
            {
                "id": 7,
                "path": "/a",
                "name": "a",
                "kind": "cgroup",
                "alive": True,
                "cpu_ns": 250_000_000,
                "cpu_percent": 25.0,
                "host_percent": 12.5,
                "switches": None,
                "memory_bytes": None,
                "working_set_bytes": None,
                "score": 25.0,
                "perf_cgroup": "a",
                "cpu_ns_by_cpu": [1, 2],
            }
        ],
        "dropped": [{"path": "/b\\xff", "reason": "no\\xff"}],
    }
    host = found["host"]
    assert set(host) >= {"cpus", "idle_ns", "unattributed_ns", "probe"}
    assert (
        host["units_ns"] + host["root_ns"] + host["idle_ns"] + host["unattributed_ns"]
        == (host["total_ns"])
    )
    assert set(host["probe"]) >= {"lost", "map_used", "map_max"}


def test_json_leaves_the_cpus_out_unless_asked() -> None:
    made = ranking([row("/a", cpu_ns_by_cpu=(1, 2))])
    assert "cpu_ns_by_cpu" not in ranking_object(made, FakeSource())["cgroups"][0]


NAMES = [
    "plain-1.scope",
    "a b",
    "a'b",
    'a"b',
    "$(reboot)",
    "`x`",
    "a;b",
    "*",
    "~",
    "a\\b",
    "#",
    "é",
]


def test_perf_arguments_are_quoted_only_where_a_shell_would_take_them_apart() -> None:
    assert as_perf_arguments(["-e", "cpu-clock/name=cg0:web:cpu-clock/", "-G", "docker/ab12"]) == (
        "-e cpu-clock/name=cg0:web:cpu-clock/ -G docker/ab12"
    )
    assert as_perf_arguments(["-G", "a b"]) == "-G 'a b'"


@pytest.mark.parametrize("name", [*NAMES, *HOSTILE.values()])
def test_a_shell_gives_the_arguments_back_as_they_were(name: str) -> None:
    line = as_perf_arguments(["-G", name, "end"])
    assert shlex.split(line) == ["-G", name, "end"]
    script = 'eval "set -- $LINE"; printf \'%s\\0\' "$@"'
    said = subprocess.run(
        ["/bin/sh", "-c", script],
        env={"LINE": line},
        capture_output=True,
        check=True,
    ).stdout.decode(errors="surrogateescape")
    assert said.split("\0") == ["-G", name, "end", ""]
