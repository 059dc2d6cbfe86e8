"""What the tests marked `kernel` and `e2e` need, found out once for all of them."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import NoReturn

import pytest

from cgbpf.errors import CgbpfError
from cgbpf.hierarchy import mounted, perf_hierarchy
from cgbpf.perf.events import default_event, require_cgroups
from cgbpf.sources.bpf import BpfSource

REQUIRE = "CGBPF_REQUIRE_KERNEL"
"""Environment variable: 1 turns the skips into failures."""


@lru_cache(maxsize=1)
def kernel_skip_reason() -> str | None:
    """Why real BPF and real perf can't be tested here, None if they can."""
    if os.geteuid() != 0:
        return "needs root"
    try:
        BpfSource(perf_hierarchy(mounted())).close()
        require_cgroups()
        default_event()
    except CgbpfError as error:
        return str(error)
    return None


def unavailable(reason: str) -> NoReturn:
    """Skips a test that can't run here, or fails it where every one must."""
    if kernel_required():
        pytest.fail(f"{REQUIRE}=1, but: {reason}", pytrace=False)
    pytest.skip(reason)


def kernel_required() -> bool:
    return os.environ.get(REQUIRE) == "1"
