"""What the scenario found out, told at the end of the run, passed or failed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

Tell = Callable[[str, dict[str, Any]], None]

_told = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_told] = []


@pytest.fixture
def tell(pytestconfig: pytest.Config) -> Tell:
    """Has the facts of a run printed: docs/compatibility.md is written from them."""

    def keep(name: str, facts: dict[str, Any]) -> None:
        rounded = {
            key: round(value, 2) if isinstance(value, float) else value
            for key, value in facts.items()
        }
        pytestconfig.stash[_told].append(f"{name}: {json.dumps(rounded)}")

    return keep


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for line in config.stash[_told]:
        terminalreporter.write_line(line)
