"""Fixtures and requirements of all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cgbpf.hierarchy import Hierarchy, mounted, perf_hierarchy
from tests.support.cgroups import CgroupTree
from tests.support.requirements import kernel_required, kernel_skip_reason

NEED_KERNEL = ("kernel", "e2e")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what is marked `kernel` or `e2e` where it can't run, or fails it."""
    if not any(item.get_closest_marker(each) for each in NEED_KERNEL):
        return
    reason = kernel_skip_reason()
    if reason and kernel_required():
        pytest.fail(f"CGBPF_REQUIRE_KERNEL=1, but: {reason}", pytrace=False)
    if reason:
        pytest.skip(reason)


@pytest.fixture
def hierarchy() -> Hierarchy:
    """The hierarchy that is ranked on this host."""
    return perf_hierarchy(mounted())


@pytest.fixture
def cgroups(hierarchy: Hierarchy) -> Iterator[CgroupTree]:
    """Cgroups of the test's own, with what runs in them; gone when it ends."""
    tree = CgroupTree(hierarchy)
    try:
        yield tree
    finally:
        tree.close()
