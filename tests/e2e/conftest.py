"""Container hosts for tests, and what they leave behind: nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from cgbpf.hierarchy import mounted, perf_hierarchy
from tests.support.requirements import kernel_required
from tools.known_load import shell_loop
from tools.test_hosts import Container, ContainerHost, DockerHost, RuncHost

HOSTS: tuple[type[ContainerHost], ...] = (RuncHost, DockerHost)


class Trio(NamedTuple):
    """Three containers of one host: about 100, 10 and 2 % of a CPU.

    Far apart, because on a machine that does other things the hot one gets less.
    """

    hot: Container
    warm: Container
    idle: Container


@pytest.fixture(scope="session", autouse=True)
def _alone() -> Iterator[None]:
    """Only one run at a time on this host: each would find the other's hot container.

    A lock on a directory that is there anyway leaves no file behind.
    """
    with contextlib.ExitStack() as stack:
        if os.geteuid() == 0:
            directory = os.open(perf_hierarchy(mounted()).mount, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, directory)
            fcntl.flock(directory, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="module", params=HOSTS, ids=lambda kind: kind.__name__)
def trio(request: pytest.FixtureRequest) -> Iterator[Trio]:
    """A real runtime with three containers, one of them hot."""
    with usable(request.param)() as host:
        yield Trio(*(host.run(shell_loop(percent)) for percent in (100, 10, 2)))


def usable(kind: type[ContainerHost]) -> type[ContainerHost]:
    """`kind`, if it can run here; else skips, or fails where that is not allowed."""
    reason = kind.missing()
    if reason and kernel_required():
        pytest.fail(reason, pytrace=False)
    if reason:
        pytest.skip(reason)
    return kind
