"""What stands both in the C and in Python is the same."""

from __future__ import annotations

import inspect
import re

import numpy as np

from cgbpf.sources import bpf, bpf_loader, loading

TEXT = (bpf_loader.bpf_folder() / bpf_loader.SOURCE).read_text(encoding="ascii")
CODE = re.sub(r"/\*.*?\*/|//[^\n]*", "", TEXT, flags=re.DOTALL)
WORD = 8


def defined(name: str) -> int:
    return int(re.findall(rf"^#define {name} (\d+)$", CODE, re.MULTILINE)[0])


def members(struct: str) -> list[tuple[str, str, int]]:
    """(type, name, count) of each member of a struct, in order."""
    (body,) = re.findall(rf"struct {struct} {{(.*?)}};", CODE, re.DOTALL)
    found = re.findall(r"\s*(struct \w+|\w+) (\w+)(?:\[(\w+)\])?;", body)
    assert len(found) == body.count(";")
    return [(kind, name, defined(count) if count else 1) for kind, name, count in found]


def size(kind: str) -> int:
    """Bytes of a type. No padding: all members are 64-bit words, or whole numbers of them."""
    if kind == "u64":
        return WORD
    if kind == "char":
        return 1
    return sum(size(each) * count for each, _, count in members(kind.removeprefix("struct ")))


def word(struct: str, member: str) -> int:
    """Offset of a member in 64-bit words."""
    offset = 0
    for kind, name, count in members(struct):
        if name == member:
            assert offset % WORD == 0
            return offset // WORD
        offset += size(kind) * count
    raise AssertionError(f"no {member} in struct {struct}")


def test_sizes() -> None:
    assert defined("SLOTS") == bpf.SLOTS
    assert bpf.SLOTS & (bpf.SLOTS - 1) == 0, "the id picks its slot by its low bits"
    assert defined("PATH_LEN") == bpf.PATH_LEN
    assert size("struct cpu_state") == bpf._WORDS * WORD


def test_the_state_of_a_cpu() -> None:
    assert word("cpu_state", "now") == bpf._NOW
    assert word("cpu_state", "flushing") == bpf._FLUSHING
    assert word("cpu_state", "flushed") == bpf._FLUSHED
    assert word("cpu_state", "first_ns") == bpf._FIRST
    assert word("cpu_state", "slots") == bpf._CACHE
    assert size("struct totals") // WORD == bpf._FLUSHING - bpf._NOW
    assert size("struct totals") // WORD == bpf._FIRST - bpf._FLUSHED
    assert size("struct slot") == 3 * WORD


def test_totals_usage_and_the_record_of_a_removed_cgroup() -> None:
    assert word("totals", "at_ns") == bpf._AT
    assert word("totals", "idle_ns") == bpf._IDLE
    assert word("totals", "lost_ns") == bpf._LOST_NS
    assert word("totals", "lost_updates") == bpf._LOST_UPDATES
    assert [name for _, name, _ in members("usage")] == ["cpu_ns", "switches"]
    assert size("struct usage") == 16
    assert (word("gone", "path"), size("struct gone")) == (1, 8 + bpf.PATH_LEN)


def test_maps_programs_and_constants_have_the_same_names() -> None:
    maps = re.findall(r"BPF_\w*ARRAY\((\w+),", CODE)
    maps += re.findall(r'BPF_TABLE\("\w+", \w+, [\w ]+, (\w+), \w+\)', CODE)
    assert set(bpf_loader.MAPS) <= set(maps)
    programs = re.findall(r"RAW_TRACEPOINT_PROBE\((\w+)\)", CODE)
    assert sorted(programs) == sorted((*bpf_loader.CHARGING, bpf_loader.NAMING))
    assert len(re.findall(r"^int flush\(", CODE, re.MULTILINE)) == 1


def test_every_constant_that_the_c_wants_is_given() -> None:
    used = set(re.findall(r"\b[A-Z][A-Z_]{3,}\b", CODE))
    own = set(re.findall(r"^#define (\w+)", CODE, re.MULTILINE))
    bcc = {"RAW_TRACEPOINT_PROBE", "BPF_PERCPU_ARRAY", "BPF_TABLE", "BPF_ARRAY"}
    givers = [inspect.getsource(each) for each in (bpf_loader, loading)]
    given = set(re.findall(r'"([A-Z][A-Z_0-9]{3,})"\]? ?[:=]', "".join(givers)))
    assert used - own - bcc - {"UNROLL"} == given - {"BCC_KERNEL_SOURCE"}
    for name in given - {"BCC_KERNEL_SOURCE"}:
        assert re.search(rf"^ \*.*\b{name}\b", TEXT, re.MULTILINE), f"{name} is not documented"


def test_values_are_read_as_the_words_they_are() -> None:
    state = np.arange(bpf._WORDS, dtype=np.uint64)
    flushed = state[bpf._FLUSHED : bpf._FIRST]
    assert flushed[bpf._IDLE] == word("cpu_state", "flushed") + word("totals", "idle_ns")
