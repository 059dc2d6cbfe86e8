"""Fixtures and requirements of all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cgbpf.hierarchy import Hierarchy, mounted, perf_hierarchy
from tests.support.cgroups import CgroupTree
from tests.support.requirements import kernel_skip_reason, unavailable

NEED_KERNEL = ("kernel", "e2e")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what is marked `kernel` or `e2e` where it can't run, or fails it."""
    if not any(item.get_closest_marker(each) for each in NEED_KERNEL):
        return
    reason = kernel_skip_reason()
    if reason:
        unavailable(reason)


@pytest.fixture
def hierarchy() -> Hierarchy:
    """The hierarchy that is ranked on this host."""
    return perf_hierarchy(mounted())


@pytest.fixture
def cgroups(hierarchy: Hierarchy) -> Iterator[CgroupTree]:
    """Cgroups of the test's own, with what runs in them; gone when it ends."""
    reason = kernel_skip_reason()
    if reason:
        unavailable(reason)
    tree = CgroupTree(hierarchy)
    try:
        yield tree
    finally:
        tree.close()
