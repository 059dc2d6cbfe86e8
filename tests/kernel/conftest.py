"""A probe for the tests of this folder, given back when each ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from cgbpf.hierarchy import Hierarchy
from cgbpf.sources.bpf import BpfSource

OpenProbe = Callable[..., BpfSource]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All that lies in this folder needs the kernel."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.kernel)


@pytest.fixture
def open_probe(hierarchy: Hierarchy) -> Iterator[OpenProbe]:
    """Attaches the probe anew, with whatever room its map is to have."""
    with ExitStack() as stack:
        yield lambda max_cgroups=None: stack.enter_context(
            closing(BpfSource(hierarchy, max_cgroups))
        )


@pytest.fixture
def probe(open_probe: OpenProbe) -> BpfSource:
    return open_probe()
