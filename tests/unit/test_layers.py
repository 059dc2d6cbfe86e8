"""Imports point one way, and what is heavy is imported only where it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cgbpf

PACKAGE = Path(cgbpf.__file__).resolve().parent

LAYERS = (
    ("model", "errors"),
    ("hierarchy", "privileges"),
    ("naming", "sources"),
    ("measure", "units", "rank", "score", "recipe"),
    ("perf", "pipeline"),
    ("report", "check"),
    ("cli",),
    ("__main__",),
)
"""As in docs/architecture.md: a module imports from its own layer and those before it."""

HEAVY = ("numpy", "pandas", "rich", "bcc", "pyroute2", "simpleeval")


def modules() -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield name, ast.parse(file.read_text(encoding="utf-8"))


def imports(tree: ast.Module) -> set[str]:
    """Every module that is named by an import, inside functions and for types, too."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def layer(name: str) -> int:
    """The layer of a module of ours; -1 for the package itself, which is everybody's."""
    part = f"{name}.".split(".")[1]
    if part in ("", "__version__"):
        return -1
    return next(at for at, names in enumerate(LAYERS) if part in names)


def test_there_are_modules_to_look_at() -> None:
    found = dict(modules())
    assert {"cgbpf.model", "cgbpf.cli.rank", "cgbpf.sources.bpf"} <= set(found)
    assert "numpy" in imports(found["cgbpf.sources.bpf"])


def test_every_module_has_a_layer_and_imports_only_what_lies_below() -> None:
    wrong = [
        f"{name} imports {imported}"
        for name, tree in modules()
        for imported in imports(tree)
        if imported.split(".")[0] == "cgbpf" and layer(imported) > max(layer(name), -1)
    ]
    assert wrong == []


def test_within_sources_and_perf_there_is_no_circle() -> None:
    graph = {name: imports(tree) for name, tree in modules()}
    edges = {
        name: {other for other in graph if any(each.startswith(other + ".") for each in used)}
        - {name, "cgbpf"}
        for name, used in graph.items()
    }
    packages = {name for name in graph if f"{name}." in " ".join(graph)}
    while edges:
        free = [name for name, needs in edges.items() if not (needs & set(edges)) - packages]
        assert free, f"these import each other: {sorted(edges)}"
        for name in free:
            del edges[name]


@pytest.mark.parametrize(
    ("foreign", "allowed"),
    [
        ("bcc", {"cgbpf.sources.bpf_loader"}),
        ("rich", {"cgbpf.report", "cgbpf.cli", "cgbpf.check"}),
        ("click", {"cgbpf.cli"}),
        ("simpleeval", {"cgbpf.score"}),
        ("ctypes", {"cgbpf.sources", "cgbpf.naming.handles", "cgbpf.perf.process", "cgbpf.check"}),
    ],
)
def test_each_foreign_library_has_its_place(foreign: str, allowed: set[str]) -> None:
    users = {
        name
        for name, tree in modules()
        if any(each.split(".")[0] == foreign for each in imports(tree))
    }
    assert users
    strangers = {
        name for name in users if not any(f"{name}.".startswith(f"{each}.") for each in allowed)
    }
    assert strangers == set()


def test_what_decodes_never_imports_the_kernel_library() -> None:
    graph = {name: imports(tree) for name, tree in modules()}
    for name in ("cgbpf.measure", "cgbpf.rank", "cgbpf.model", "cgbpf.sources.recorded"):
        assert not [each for each in graph[name] if "libbpf" in each or "bcc" in each]


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that are there after `statement`, run by itself."""
    script = (
        "import sys, io\nsys.stdout, out = io.StringIO(), sys.stdout\n"
        f"try:\n    {statement}\nexcept SystemExit as ended:\n    assert not ended.code\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=out)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("words", [["--help"], ["--version"]])
def test_help_starts_fast(words: list[str]) -> None:
    found = loaded_by(f"sys.argv = {['cgbpf', *words]!r}; from cgbpf.cli import main; main()")
    assert {"cgbpf", "click"} <= found
    assert found.isdisjoint(HEAVY)


def test_the_loader_is_started_before_anything_heavy_is_imported() -> None:
    found = loaded_by("import cgbpf.cli.rank, cgbpf.sources.choose, cgbpf.sources.loading")
    assert found.isdisjoint(HEAVY)


def test_the_process_that_stays_never_imports_bcc() -> None:
    found = loaded_by("import cgbpf.sources.bpf, cgbpf.pipeline, cgbpf.report.ranking")
    assert "numpy" in found
    assert "bcc" not in found
