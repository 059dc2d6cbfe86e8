"""What `--score` takes, and each way in which it must refuse."""

from __future__ import annotations

import re
import time

import pytest

from cgbpf.errors import BadRequest
from cgbpf.score import COLUMNS, Score

VALUES: dict[str, float | None] = {
    "cpu": 80.0,
    "host": 40.0,
    "cpu_s": 0.8,
    "switches": 100.0,
    "memory": 64.0,
    "working_set": 32.0,
    "lifetime_cpu_s": 10.0,
}


def score(expression: str, **changed: float | None) -> float | None:
    return Score(expression).of(VALUES | changed, "/a")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("cpu", 80.0),
        (" cpu ", 80.0),
        ("cpu + 0.1 * memory", 86.4),
        ("max(cpu, switches)", 100.0),
        ("min(cpu, 5) + abs(0 - 2)", 7.0),
        ("sqrt(memory) + log(1)", 8.0),
        ("cpu ** 2", 6400.0),
        ("-cpu", -80.0),
        ("7", 7.0),
        ("cumulative", 74.0),
    ],
)
def test_expressions_over_columns(expression: str, expected: float) -> None:
    assert score(expression) == pytest.approx(expected)


def test_every_documented_column_can_be_named() -> None:
    assert set(COLUMNS) == set(VALUES)
    for name in COLUMNS:
        assert score(name) == VALUES[name]


def test_the_columns_an_expression_needs_are_told() -> None:
    assert Score("max(cpu, memory) * 2").columns == {"cpu", "memory"}
    assert Score("cumulative").columns == {"lifetime_cpu_s", "memory"}


def test_a_column_that_was_not_measured_gives_no_score_and_is_not_zero() -> None:
    assert score("cpu + memory", memory=None) is None
    assert score("cpu", memory=None) == 80.0
    assert score("memory", memory=0.0) == 0.0


@pytest.mark.parametrize("expression", ["cpus", "cpu + cpu_percent", "nan", "__import__('os')"])
def test_an_unknown_column_is_named_with_those_there_are(expression: str) -> None:
    with pytest.raises(BadRequest, match=r"unknown column.*use cpu, host"):
        Score(expression)


@pytest.mark.parametrize("expression", ["1 / 0", "cpu / (memory - 64)", "cpu % 0", "cpu // 0.0"])
def test_division_by_zero_names_the_cgroup(expression: str) -> None:
    with pytest.raises(BadRequest, match=r"divides by zero for '/a'"):
        score(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        " ",
        "cpu +",
        "cpu; memory",
        "cpu = 3",
        "lambda: 1",
        "cpu\0",
        "\udcff",
        "(" * 500,
        "-" * 999 + "1",
        "cpu.real",
        "cpu.__class__.__mro__",
        "(1).__class__",
        "cpu[0]",
        "[cpu for cpu in (1,)]",
        "f'{cpu}'",
        "(cpu := 3)",
        "*cpu",
        "min",
        "max()",
        "abs('x')",
        "'cpu'",
        "cpu == 3",
        "True",
        "None",
        "1j",
        "(-1) ** 0.5",
        "sqrt(-1)",
        "log(0)",
        "9 ** 9 ** 9",
        "cpu ** 99999999",
        "10 ** 400",
        "1 << 99999999999",
        "'x' * 99999999999",
        "1e999",
        "1e999 - 1e999",
        "1e308 * 10",
        "-1e308 * 10",
        "cpu + " * 300 + "cpu",
    ],
)
def test_what_makes_no_score_is_one_clear_error_at_once(expression: str) -> None:
    begun = time.monotonic()
    with pytest.raises(BadRequest) as caught:
        score(expression)
    assert time.monotonic() - begun < 1.0
    assert "--score" in caught.value.message
    assert caught.value.hint


def test_an_endless_expression_is_refused_for_its_length() -> None:
    with pytest.raises(BadRequest, match=re.escape("too long")):
        Score("1+" * 600 + "1")


@pytest.mark.parametrize(
    "expression",
    ["4000000**4000000", "(9**3999998 % 7**3999998)*0+cpu", "'%2000000000d' % 1 and cpu", "1 << 9"],
)
def test_what_would_eat_time_or_memory_is_refused_at_once(expression: str) -> None:
    with pytest.raises(BadRequest):
        Score(expression).of(dict.fromkeys(COLUMNS, 1.0), "/a")
