"""Every foreseen failure has one line, a remedy, and an exit code that is documented."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import cgbpf
from cgbpf import errors
from cgbpf.errors import CgbpfError

ROOT = Path(cgbpf.__file__).resolve().parent.parent
FAULT, USAGE, INTERRUPTED = 1, 2, 130


def kinds() -> list[type[CgbpfError]]:
    return [
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, CgbpfError) and each is not CgbpfError
    ]


def test_exit_codes_are_distinct_and_leave_those_that_mean_something_alone() -> None:
    codes = [each.exit_code for each in kinds()]
    assert len(codes) == len(set(codes)) >= 7
    assert errors.BadRequest.exit_code == USAGE  # as click has it
    # 126 and above are the shell's: only what a shell would say, too, has one of them.
    assert [code for code in codes if not USAGE <= code < 126] == [errors.CommandMissing.exit_code]
    assert CgbpfError.exit_code == FAULT


def test_every_error_is_in_one_module_and_says_what_it_is_for() -> None:
    for module in pkgutil.walk_packages(cgbpf.__path__, "cgbpf."):
        if module.name not in ("cgbpf.__main__", "cgbpf.sources.bpf_loader"):
            importlib.import_module(module.name)
    assert set(CgbpfError.__subclasses__()) == set(kinds())
    for kind in kinds():
        assert kind.__doc__, kind


@pytest.mark.parametrize("code", [0, FAULT, *(kind.exit_code for kind in kinds()), INTERRUPTED])
def test_every_exit_code_stands_in_the_readme(code: int) -> None:
    rows = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in rows if re.match(rf"\W*{code}\b\W+\w", line)]


def test_an_error_is_one_line_with_its_remedy() -> None:
    assert str(errors.NothingFound("nothing ran", "wait")) == "nothing ran; wait"
    assert str(errors.NothingFound("nothing ran")) == "nothing ran"
