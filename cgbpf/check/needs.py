"""The rules for what `record` needs: perf, a hierarchy, a source. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cgbpf.check.facts import Facts
from cgbpf.check.granting import NEEDED, lacking
from cgbpf.check.lines import OK, WARNING, Check, problem, remedy
from cgbpf.errors import CgbpfError, NotPermitted
from cgbpf.hierarchy import Hierarchy

SEE_CAPABILITIES = "see capabilities"
"""One command gives them all, so it is told once."""
_OPTIONS = {"rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode"}
"""What stands beside the controllers of a v1 mount (cgroups(7))."""


def perf(facts: Facts) -> Iterator[Check]:
    perf = facts.perf
    steps = [
        ("perf", perf.path and perf.version and f"{perf.version}, {perf.path}"),
        ("perf -G", "in its options" if perf.by_cgroup else None),
        ("event", perf.event),
    ]
    error = perf.error
    for name, found in steps:
        if found:
            yield Check(name, OK, found)
        elif error:
            yield problem(name, error)
            error = None
        else:
            yield Check(name, WARNING, "not tried")


def trees(facts: Facts) -> Iterator[Check]:
    trees = facts.trees
    yield Check("hierarchies", OK, mounts_in_words(trees.mounts))
    if trees.ranked is None:
        if trees.error:
            yield problem("ranked", trees.error)
        return
    yield Check("ranked", OK, f"{in_words(trees.ranked)}: where perf looks names up")
    yield _cpu_files(trees.cpu)
    yield _memory_files(trees.memory)
    yield _cgroups(trees.cgroups, trees.complete)


def in_words(tree: Hierarchy) -> str:
    """What it is and where: "v1 cpu,cpuacct at /sys/fs/cgroup/cpu"."""
    kind = "cgroup2" if tree.version == 2 else f"v1 {_controllers(tree)}"
    return f"{kind} at {tree.mount or '/'}"


def _controllers(tree: Hierarchy) -> str:
    return ",".join(sorted(tree.controllers - _OPTIONS))


def mounts_in_words(mounts: Sequence[Hierarchy]) -> str:
    """Each hierarchy once, though it may be mounted in several places."""
    if not mounts:
        return "none"
    old = dict.fromkeys(_controllers(each) for each in mounts if each.version == 1)
    new = ["cgroup2"] if any(each.version == 2 for each in mounts) else []
    return "; ".join(new + ([f"v1 {' '.join(old)}"] if old else []))


def _cpu_files(tree: Hierarchy | None) -> Check:
    if tree is None:
        return Check("cpu files", WARNING, "none", "mount cpuacct, or cgroup2 alone")
    file = "cpu.stat" if tree.version == 2 else "cpuacct.usage"
    return Check("cpu files", OK, f"{file} of {in_words(tree)}")


def _memory_files(tree: Hierarchy | None) -> Check:
    if tree is None:
        todo = "memory will be NA; enable the controller (cgroup.subtree_control) to see it"
        return Check("memory files", WARNING, "no memory controller", todo)
    file = "memory.current" if tree.version == 2 else "memory.usage_in_bytes"
    return Check("memory files", OK, f"{file} of {in_words(tree)}")


def _cgroups(number: int, complete: bool) -> Check:
    if not number:
        todo = "start a container: what runs in the root cgroup belongs to none"
        return Check("cgroups", WARNING, "none but the root", todo)
    return Check("cgroups", OK, str(number) if complete else f"more than {number}")


def sources(facts: Facts) -> Iterator[Check]:
    found = facts.sources
    yield _bcc(facts)
    yield _libbpf(found.libbpf)
    yield _btf(found.libbpf, found.types)
    if facts.trees.ranked is None:
        return
    yield _probe(facts)
    yield _flush(facts)
    if found.files_error is None:
        yield Check("files source", OK, "can be read")
    elif found.bpf_error is None:
        yield Check("files source", WARNING, found.files_error.message, found.files_error.hint)
    else:
        yield problem("files source", found.files_error)
    yield _handles(found.handles_error)


def _bcc(facts: Facts) -> Check:
    found = facts.sources
    if found.bcc:
        return Check("bcc", OK, f"{found.bcc}, {found.bcc_place}")
    todo = (
        "apt install python3-bpfcc, and use a Python that sees it (/usr/bin/python3, or a "
        "venv with --system-site-packages); PyPI's bcc is another project"
    )
    where = f"not importable by {facts.host.interpreter}"
    return Check("bcc", WARNING, f"{where}: {found.bcc_error}", todo)


def _libbpf(version: str | None) -> Check:
    if version:
        return Check("libbpf", OK, version)
    return Check("libbpf", WARNING, "not found, or older than 1.0", "apt install libbpf1")


def _btf(libbpf: str | None, types: int | None) -> Check:
    if types:
        return Check("btf", OK, "the kernel tells its types")
    if libbpf is None:
        return Check("btf", WARNING, "not tried: it is read by libbpf")
    return Check(
        "btf",
        WARNING,
        "the kernel does not tell its types",
        "the paths of cgroups that end in the window are lost without it; "
        "use a kernel with CONFIG_DEBUG_INFO_BTF",
    )


def _probe(facts: Facts) -> Check:
    found = facts.sources
    if found.load_ms is not None and found.snapshot_ms is not None:
        times = f"loaded in {found.load_ms:.0f} ms, read in {found.snapshot_ms:.1f} ms"
        return Check("bpf source", OK, times)
    if found.bpf_error is None:
        return Check("bpf source", WARNING, "not tried")
    missing = lacking(facts.privileges.held, NEEDED)
    todo = SEE_CAPABILITIES if missing else remedy(found.bpf_error)
    if not found.files_error:
        todo += "; until then the kernel's files are used"
    return Check("bpf source", WARNING, found.bpf_error.message, todo)


def _flush(facts: Facts) -> Check:
    found = facts.sources
    if found.flush_refused:
        return Check("flush", WARNING, "no program runs on a chosen CPU", "needs Linux 5.10")
    if found.load_ms is None:
        return Check("flush", WARNING, "not tried: it needs the bpf source")
    if found.offline_cpus:
        numbers = ", ".join(map(str, found.offline_cpus))
        return Check("flush", OK, f"works; CPUs offline and not counted: {numbers}")
    return Check("flush", OK, "works on each CPU")


def _handles(error: str) -> Check:
    if not error:
        return Check("file handles", OK, "a cgroup is found by its id at once")
    todo = "give CAP_DAC_READ_SEARCH, too; until then the tree is walked"
    return Check("file handles", WARNING, f"open_by_handle_at: {error}", todo)


def trial(facts: Facts) -> Iterator[Check]:
    trial = facts.trial
    if trial.cgroup is None:
        yield Check("perf record", WARNING, "not tried")
    elif trial.error:
        yield _refused(facts, trial.error)
    else:
        only_root = " (there is no other cgroup)" if trial.cgroup == "/" else ""
        yield Check("perf record", OK, f"-G works, tried on {trial.cgroup}{only_root}")


def _refused(facts: Facts, error: CgbpfError) -> Check:
    """Instead of perf's eight lines, what they come to."""
    if isinstance(error, NotPermitted) and lacking(facts.privileges.held, ("CAP_PERFMON",)):
        error = NotPermitted("perf may not record by cgroup without CAP_PERFMON", SEE_CAPABILITIES)
    return problem("perf record", error)
