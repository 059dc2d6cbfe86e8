"""What kernels before 5.10 and 5.6 lack, taken away: none of them is to be had here."""

from __future__ import annotations

import errno
import os
import time

import pytest

from cgbpf.sources import bpf, maps
from cgbpf.sources.bpf import BpfSource
from cgbpf.sources.libbpf import library
from tests.kernel.conftest import OpenProbe
from tests.support.cgroups import CgroupTree
from tests.support.kernel import bracket, used

WITHIN = 0.03
MS = 1_000_000


@pytest.fixture
def old_probe(open_probe: OpenProbe, monkeypatch: pytest.MonkeyPatch) -> BpfSource:
    """A probe on a kernel that neither runs programs on a CPU nor reads in batches."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(bpf, "run_on_cpu", refuse)
    monkeypatch.setattr(maps.HashReader, "_batches", refuse)
    return open_probe()


def test_slices_in_flight_are_charged_by_taking_the_cpu(
    cgroups: CgroupTree, old_probe: BpfSource
) -> None:
    hog = cgroups.make("hog")
    hog.spin(cpu=0)
    before = bracket(old_probe, hog)
    time.sleep(0.5)
    after = bracket(old_probe, hog)
    counted = used(before.snapshot, after.snapshot, old_probe)[hog.path]
    lowest, highest = after.below_ns - before.above_ns, after.above_ns - before.below_ns
    stolen = after.stolen_ns - before.stolen_ns + 10 * MS
    assert lowest * (1 - WITHIN) <= counted <= highest * (1 + WITHIN) + stolen


def test_the_account_closes_and_no_time_goes_back(
    cgroups: CgroupTree, old_probe: BpfSource
) -> None:
    for number in range(3):
        cgroups.make(f"duty-{number}").duty(20)
    last = old_probe.snapshot()
    for _ in range(5):
        time.sleep(0.1)
        now = old_probe.snapshot()
        spent = dict(zip(last.ids.tolist(), last.cpu_ns.tolist(), strict=True))
        for cgroup_id, cpu_ns in zip(now.ids.tolist(), now.cpu_ns.tolist(), strict=True):
            assert cpu_ns >= spent.get(cgroup_id, 0)
        total = now.covered_ns - last.covered_ns
        charged = sum(now.cpu_ns.tolist()) - sum(spent.values()) + now.idle_ns - last.idle_ns
        assert abs(total - charged) < 0.02 * total
        last = now


def test_one_by_one_reads_what_batches_read(
    cgroups: CgroupTree, probe: BpfSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    cgroups.make("one").brief(5).wait()
    probe.snapshot()  # empties the caches into the map
    batched = dict(zip(*_usages(probe), strict=True))
    monkeypatch.setattr(probe._usages, "_no_batches", True)
    single = dict(zip(*_usages(probe), strict=True))
    assert batched.keys() <= single.keys()
    assert cgroups.make("one").id in single


def test_draining_one_by_one_leaves_the_map_empty(
    cgroups: CgroupTree, probe: BpfSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    mayfly = cgroups.make("mayfly")
    number = mayfly.id
    mayfly.remove()
    monkeypatch.setattr(probe._gone, "_no_batches", True)
    keys, records = probe._gone.drain()
    assert number in keys.tolist()
    assert records.shape == (len(keys), 8 + bpf.PATH_LEN)
    assert len(probe._gone.drain()[0]) == 0


def _usages(source: BpfSource) -> tuple[list[int], list[bytes]]:
    keys, values = source._usages.read()
    return keys.tolist(), [bytes(value) for value in values]


def test_a_kernel_that_lacks_a_call_is_told_from_one_that_fails() -> None:
    reader = maps.HashReader(-1, 16, 8)
    with pytest.raises(OSError, match="Bad file descriptor"):
        reader.read()
    assert library().bpf_map_get_next_key(-1, None, None) != 0
