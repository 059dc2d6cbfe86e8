"""What `--score` means: an expression over named columns, safely evaluated.

simpleeval walks the syntax tree itself: there are no attributes, no imports
and no calls but the few functions below, and powers are bounded.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Mapping
from typing import Any

from cgbpf.errors import BadRequest

COLUMNS = {
    "cpu": "CPU in the window, percent, 100 = one CPU",
    "host": "CPU in the window, percent, 100 = all CPUs",
    "cpu_s": "CPU in the window, seconds",
    "switches": "context switches per second",
    "memory": "memory in MiB, page cache included",
    "working_set": "memory in MiB, less inactive page cache",
    "lifetime_cpu_s": "CPU since the cgroup was made, seconds",
}
"""Columns that an expression may name."""

FILE_COLUMNS = frozenset({"memory", "working_set", "lifetime_cpu_s"})
"""Those that are read from files, one unit at a time; idle units have them, too."""

NAMED = {"cumulative": "lifetime_cpu_s + memory"}
"""Scores with a name. `cumulative` is the one of gProfiler's cgroup mode."""

_FUNCTIONS = {"min": min, "max": max, "abs": abs, "sqrt": math.sqrt, "log": math.log}
_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_MAX_LENGTH = 1000


class Score:
    """A parsed `--score`. Raises BadRequest for what can't be one."""

    def __init__(self, expression: str) -> None:
        from simpleeval import SimpleEval

        self.text = expression
        source = NAMED.get(expression, expression)
        if len(source) > _MAX_LENGTH:
            raise BadRequest("--score is too long", f"use at most {_MAX_LENGTH} characters")
        self._evaluator = SimpleEval(functions=_FUNCTIONS, operators=_OPERATORS)
        for unwanted in (ast.Attribute, ast.Subscript, ast.JoinedStr, ast.IfExp):
            self._evaluator.nodes.pop(unwanted, None)
        try:
            tree = ast.parse(source.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise self._bad("it is not an expression") from error
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        self.columns = names - set(_FUNCTIONS)
        """The columns it needs."""
        unknown = sorted(self.columns - set(COLUMNS))
        if unknown:
            raise BadRequest(
                f"--score names an unknown column: {unknown[0]}", "use " + ", ".join(COLUMNS)
            )
        self._only_numbers(tree)
        self._tree: Any = tree.body
        self._source = source

    def _only_numbers(self, tree: ast.AST) -> None:
        """Makes all constants floats, so that a power that is too large is an
        error at once. Raises BadRequest for strings and the like.
        """
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant):
                continue
            if not isinstance(node.value, int | float) or isinstance(node.value, bool):
                raise self._bad("it holds something that is no number")
            try:
                node.value = float(node.value)
            except OverflowError as error:
                raise self._bad("a number in it is too large") from error

    def of(self, values: Mapping[str, float | None], path: str) -> float | None:
        """The score of one unit, None if a column it needs was not measured."""
        if any(values[name] is None for name in self.columns):
            return None
        self._evaluator.names = dict(values)
        try:
            result = self._evaluator.eval(self._source, previously_parsed=self._tree)
        except ZeroDivisionError as error:
            raise self._bad(f"it divides by zero for {path!r}") from error
        except OverflowError as error:
            raise self._bad(f"it is too large for {path!r}") from error
        except Exception as error:  # simpleeval's own, and whatever an operator raises
            raise self._bad(str(error)) from error
        if isinstance(result, bool) or not isinstance(result, int | float):
            raise self._bad("it does not give a number")
        try:
            score = float(result)
        except OverflowError as error:
            raise self._bad(f"it is too large for {path!r}") from error
        if not math.isfinite(score):
            raise self._bad(f"it is not finite for {path!r}")
        return score

    def _bad(self, why: str) -> BadRequest:
        return BadRequest(
            f"--score {self.text!r} can't be used: {why}",
            "give an expression such as 'cpu + 0.1 * memory'",
        )
