"""`cgbpf check`: what the facts mean, with one capability taken away at a time."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cgbpf.check import decide as deciding
from cgbpf.check import needs, probing, trials
from cgbpf.check.decide import decide
from cgbpf.check.facts import (
    Facts,
    Host,
    Limits,
    Perf,
    Privileges,
    Runtimes,
    Settings,
    Sources,
    Trees,
    Trial,
)
from cgbpf.check.granting import NEEDED, USEFUL, lacking, way_to_grant
from cgbpf.check.lines import OK, PROBLEM, WARNING, Check, Report
from cgbpf.cli import main
from cgbpf.errors import CgbpfError, NotPermitted, PerfUnusable, SourceUnavailable
from cgbpf.hierarchy import Hierarchy, parse_mountinfo
from cgbpf.naming.identity import identify
from cgbpf.report import checks as report_module
from cgbpf.report.table import lines as table_lines

UNIFIED = Hierarchy(2, "/sys/fs/cgroup/unified")
MEMORY = Hierarchy(1, "/sys/fs/cgroup/memory", frozenset({"rw", "memory"}))
ALL = frozenset(NEEDED) | frozenset(USEFUL)
HOSTILE = "/evil\x1b[31m\u202e\udcff"

HEALTHY = Facts(
    host=Host("6.18.0", "x86_64", "3.11.2", "/usr/bin/python3.11", ("/venv/bin/cgbpf",), 2),
    perf=Perf("/usr/bin/perf", "6.1.192", True, "cpu-clock"),
    trees=Trees(
        mounts=(MEMORY, UNIFIED),
        ranked=UNIFIED,
        cpu=UNIFIED,
        memory=MEMORY,
        cgroups=7,
        containers=(identify("/docker/" + "a" * 64),),
        sample="/docker",
    ),
    sources=Sources(
        bcc="0.26.0", bcc_place="/bcc", libbpf="1.1", types=4, load_ms=500.0, snapshot_ms=0.5
    ),
    trial=Trial("/docker"),
    runtimes=Runtimes(("dockerd",), ("/run/docker.sock",)),
    privileges=Privileges(ALL, ALL, 1000, 1000, True),
    settings=Settings(
        {name: "0" for name in probing.SYSCTLS} | {"kernel.perf_event_paranoid": "2"},
        None,
        True,
    ),
    limits=Limits(20_000, 8 << 20),
)
NO_BPF = replace(
    HEALTHY.sources,
    load_ms=None,
    snapshot_ms=None,
    bpf_error=NotPermitted("the BPF source needs CAP_BPF", "run as root; see cgbpf check"),
)
NOT_PERMITTED = NotPermitted("perf may not record: Error:; Access to " + "x" * 300, "see")
UNPRIVILEGED = replace(
    HEALTHY, privileges=replace(HEALTHY.privileges, held=frozenset()), sources=NO_BPF
)


def lines(facts: Facts) -> dict[str, Check]:
    return {each.name: each for each in decide(facts).checks}


def judged(facts: Facts) -> tuple[Report, dict[str, Check]]:
    report = decide(facts)
    return report, {each.name: each for each in report.checks}


def test_a_healthy_host_is_ready_and_has_nothing_to_do() -> None:
    report, found = judged(HEALTHY)
    assert (report.ready, report.exit_code, report.source) == (True, 0, "bpf")
    assert {each.status for each in report.checks} == {OK}
    assert not [each for each in report.checks if each.todo]
    assert len(found) == len(report.checks), "a name stands for one line"
    assert found["perf"].found == "6.1.192, /usr/bin/perf"
    assert found["containers"].found == "1 docker"


NOTHING = Perf(error=PerfUnusable("perf is not installed", "apt install linux-perf"))
NO_G = replace(HEALTHY.perf, by_cgroup=False, event=None, error=PerfUnusable("it has no -G"))
NO_EVENT = replace(HEALTHY.perf, event=None, error=PerfUnusable("neither", "see x and cgbpf check"))
NO_TREE = Trees(error=SourceUnavailable("no cgroup hierarchy", "mount one"))
UNREAD = NotPermitted("permission denied reading cpu.stat", "run as a user who may")


@pytest.mark.parametrize(
    ("facts", "name", "code"),
    [
        (replace(HEALTHY, perf=NOTHING, trial=Trial()), "perf", 4),
        (replace(HEALTHY, perf=NO_G, trial=Trial()), "perf -G", 4),
        (replace(HEALTHY, perf=NO_EVENT, trial=Trial()), "event", 4),
        (replace(HEALTHY, trees=NO_TREE, trial=Trial()), "ranked", 6),
        (replace(HEALTHY, sources=replace(NO_BPF, files_error=UNREAD)), "files source", 5),
        (replace(HEALTHY, trial=Trial("/x", PerfUnusable("did not start"))), "perf record", 4),
        (replace(UNPRIVILEGED, trial=Trial("/x", NOT_PERMITTED)), "perf record", 5),
    ],
)
def test_what_stands_in_records_way_is_a_problem_with_its_exit_code(
    facts: Facts, name: str, code: int
) -> None:
    report, found = judged(facts)
    assert (report.ready, report.exit_code) == (False, code)
    assert [each.name for each in report.checks if each.status == PROBLEM] == [name]
    assert found[name].todo
    assert "cgbpf check" not in found[name].todo, "that is where the reader is"


def test_the_first_problem_gives_the_exit_code() -> None:
    facts = replace(HEALTHY, perf=NOTHING, trees=NO_TREE, trial=Trial())
    assert decide(facts).exit_code == PerfUnusable.exit_code


def taken(**changed: Any) -> Facts:
    return replace(HEALTHY, **changed)


@pytest.mark.parametrize(
    ("facts", "name", "todo"),
    [
        (taken(sources=NO_BPF), "bpf source", "the kernel's files"),
        (taken(sources=replace(NO_BPF, flush_refused=True)), "flush", "5.10"),
        (taken(sources=replace(HEALTHY.sources, bcc=None)), "bcc", "python3-bpfcc"),
        (taken(sources=replace(HEALTHY.sources, libbpf=None, types=None)), "libbpf", "libbpf1"),
        (taken(sources=replace(HEALTHY.sources, types=0)), "btf", "CONFIG_DEBUG_INFO_BTF"),
        (
            taken(sources=replace(HEALTHY.sources, handles_error="no")),
            "file handles",
            "CAP_DAC_READ_SEARCH",
        ),
        (taken(sources=replace(HEALTHY.sources, files_error=UNREAD)), "files source", "who may"),
        (taken(trees=replace(HEALTHY.trees, cgroups=0)), "cgroups", "start a container"),
        (taken(trees=replace(HEALTHY.trees, memory=None)), "memory files", "subtree_control"),
        (taken(trees=replace(HEALTHY.trees, cpu=None)), "cpu files", "cpuacct"),
        (taken(limits=Limits(100)), "open files", "ulimit -n 132"),
        (taken(settings=replace(HEALTHY.settings, kernel_symbols=False)), "kernel symbols", "SYS"),
        (taken(settings=replace(HEALTHY.settings, lockdown="confidentiality")), "lockdown", "boot"),
        (
            taken(settings=Settings({"kernel.bpf_stats_enabled": "1"}, None, True)),
            "bpf_stats_enabled",
            "kernel.bpf_stats_enabled=0",
        ),
        (UNPRIVILEGED, "perf_event_paranoid", "kernel.perf_event_paranoid=0"),
        (UNPRIVILEGED, "capabilities", "setpriv"),
        (UNPRIVILEGED, "useful ones", "CAP_SYSLOG gives names of kernel functions"),
    ],
)
def test_what_only_makes_it_worse_is_a_warning_with_a_remedy(
    facts: Facts, name: str, todo: str
) -> None:
    report, found = judged(facts)
    assert (report.ready, report.exit_code) == (True, 0)
    assert found[name].status == WARNING
    assert todo in found[name].todo


def test_the_source_is_the_one_that_auto_would_take() -> None:
    assert decide(HEALTHY).source == "bpf"
    fallen = decide(taken(sources=NO_BPF))
    assert (fallen.source, fallen.fallback_reason) == ("files", "the BPF source needs CAP_BPF")
    assert decide(taken(sources=replace(NO_BPF, files_error=UNREAD))).source is None
    assert decide(taken(faults={"sources": "x"})).source is None


def test_paranoid_hinders_only_who_lacks_the_capability() -> None:
    def paranoid(value: str, held: frozenset[str]) -> str:
        facts = taken(
            settings=Settings({"kernel.perf_event_paranoid": value}),
            privileges=replace(HEALTHY.privileges, held=held),
        )
        return lines(facts)["perf_event_paranoid"].status

    assert paranoid("4", ALL) == OK
    assert paranoid("2", frozenset()) == paranoid("1", frozenset()) == WARNING
    assert paranoid("0", frozenset()) == paranoid("-1", frozenset()) == OK
    assert paranoid("?", frozenset()) == WARNING


def test_perfs_eight_lines_on_permissions_become_one() -> None:
    check = lines(replace(UNPRIVILEGED, trial=Trial("/x", NOT_PERMITTED)))["perf record"]
    assert check.found == "perf may not record by cgroup without CAP_PERFMON"
    kept = lines(taken(trial=Trial("/x", NOT_PERMITTED)))["perf record"]
    assert kept.found == NOT_PERMITTED.message, "what it says, where that is not the reason"


def test_what_was_not_tried_is_not_said_to_work() -> None:
    found = lines(taken(perf=NOTHING, trial=Trial(), trees=NO_TREE, sources=NO_BPF))
    for name in ("perf -G", "event", "perf record"):
        assert (found[name].status, found[name].found) == (WARNING, "not tried")
    assert "bpf source" not in found


@pytest.mark.parametrize("name", [name for name, _ in deciding.JUDGES])
def test_a_check_that_fails_itself_is_one_line(name: str) -> None:
    report = decide(taken(faults={name: "OSError: no /proc"}))
    (line,) = [each for each in report.checks if each.name == name]
    assert "OSError: no /proc" in line.found
    assert (line.status == PROBLEM) is (name in deciding.NEEDED)
    assert report.exit_code == (CgbpfError.exit_code if name in deciding.NEEDED else 0)


def test_every_fact_that_can_be_missing_has_a_judge() -> None:
    groups = {each for each in Facts.__dataclass_fields__ if each != "faults"}
    assert {name for name, _ in deciding.JUDGES} == groups


def test_a_rule_that_fails_is_a_line_and_the_others_are_still_judged() -> None:
    broken = taken(limits=Limits(open_files=None))  # type: ignore[arg-type]
    report, found = judged(broken)
    assert found["limits"].status == WARNING
    assert "TypeError" in found["limits"].found
    assert report.ready


def test_facts_that_can_not_be_found_out_are_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> Any:
        raise RuntimeError("torn\x1b")

    for module, name in (
        (trials, "perf"), (trials, "sources"), (trials, "trial"), (probing, "find_trees"),
        (probing, "host"), (probing, "runtimes"), (probing, "held"), (probing, "settings"),
        (probing, "limits"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, fails)
    facts = probing.find_facts()
    assert set(facts.faults) == {name for name, _ in deciding.JUDGES}
    report = decide(facts)
    assert len(report.checks) == len(deciding.JUDGES)
    assert (report.ready, report.source) == (False, None)


# Granting


def test_cap_sys_admin_stands_in_for_what_was_split_from_it() -> None:
    assert lacking({"CAP_SYS_ADMIN"}, ALL) == [
        each for each in ALL if each in ("CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE")
    ]
    assert lacking((), NEEDED) == list(NEEDED)


def test_the_command_grants_what_is_needed_and_keeps_what_is_held() -> None:
    have = Privileges(frozenset({"CAP_SYSLOG"}), ALL, 65534, 7, True)
    told = way_to_grant(have, HEALTHY.host, "/opt/my perf")
    once = next(part for part in told.split("; or ") if part.startswith("for one run: "))
    words = shlex.split(once.removeprefix("for one run: "))
    assert words == [
        "sudo", "setpriv", "--reuid=65534", "--regid=7", "--init-groups",
        "--inh-caps=+bpf,+perfmon,+syslog", "--ambient-caps=+bpf,+perfmon,+syslog",
        "/venv/bin/cgbpf", "record",
    ]  # fmt: skip
    assert "sudo setcap cap_bpf,cap_perfmon=ep /usr/bin/python3.11" in told
    assert "sudo setcap cap_perfmon=ep '/opt/my perf'" in told


def test_a_user_without_a_name_has_no_groups_to_look_up_and_perf_may_be_missing() -> None:
    told = way_to_grant(Privileges(frozenset(), ALL, 4711, 4711), HEALTHY.host, None)
    assert "--clear-groups" in told
    assert told.count("setcap") == 1
    assert "run as root" in told
    assert "run as root" not in way_to_grant(Privileges(bounding=ALL), HEALTHY.host, None)


def test_what_the_bounding_set_lacks_no_command_can_give() -> None:
    bounding = ALL - {"CAP_PERFMON"}
    told = way_to_grant(Privileges(bounding=bounding), HEALTHY.host, None)
    assert "--cap-add=PERFMON" in told
    assert "setpriv" not in told
    assert "--cap-add=BPF" not in told


# Probing


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("[none] integrity confidentiality", "none"),
        ("none [integrity] confidentiality", "integrity"),
        ("", None),
        (None, None),
        ("none", None),
    ],
)
def test_the_lockdown_is_the_word_in_brackets(text: str | None, mode: str | None) -> None:
    assert probing.lockdown(text) == mode


def test_cgbpf_is_called_again_as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert probing.program("bin/cgbpf") == (str(tmp_path / "bin/cgbpf"),)
    assert probing.program("/x/cgbpf/__main__.py")[1:] == ("-m", "cgbpf")


def test_hierarchies_are_told_once_without_mount_options() -> None:
    mounts = parse_mountinfo(
        "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
        "45 44 0:29 / /elsewhere/cpu rw - cgroup cgroup rw,cpuacct,cpu\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
        "42 31 0:39 / /sys/fs/cgroup/x rw - cgroup cgroup rw,xattr,name=systemd\n"
    )
    assert needs.mounts_in_words(mounts) == "cgroup2; v1 cpu,cpuacct name=systemd"
    assert needs.mounts_in_words([]) == "none"
    assert needs.in_words(mounts[0]) == "v1 cpu,cpuacct at /sys/fs/cgroup/cpu"


def made(tmp_path: Path, *names: str) -> Hierarchy:
    for name in names:
        (tmp_path / name).mkdir(parents=True)
    return Hierarchy(2, str(tmp_path))


def test_perf_is_tried_on_a_cgroup_that_it_can_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = made(tmp_path, "own", "a,b", "ok")
    monkeypatch.setattr(probing, "own_cgroup", lambda _: "/own")
    assert probing.sample(tree, ["/ok"]) == "/own"
    monkeypatch.setattr(probing, "own_cgroup", lambda _: "/")
    assert probing.sample(tree, ["/a,b", "/ok"]) == "/ok"
    assert probing.sample(tree, ["/a,b", "/vanished"]) == "/"


def test_cgroups_are_counted_without_the_root_until_time_is_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = made(tmp_path, "a/b", "c")
    paths, complete = probing.walked(tree)
    assert (sorted(paths), complete) == (["/a", "/a/b", "/c"], True)
    monkeypatch.setattr(probing, "_WALK_S", -1.0)
    assert probing.walked(tree) == ([], False)


def test_cgroup2_counts_memory_only_with_the_controller(tmp_path: Path) -> None:
    tree = Hierarchy(2, str(tmp_path))
    assert probing.memory_of((tree,)) is None
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    assert probing.memory_of((tree,)) == tree
    assert probing.memory_of((tree, MEMORY)) == MEMORY


# Trying


def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\n{text}\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))


def test_pypis_bcc_is_not_bcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter(tmp_path, monkeypatch, "echo \"ImportError: no name 'BPF'\" >&2; exit 1")
    found = trials.bcc(Sources())
    assert (found.bcc, found.bcc_error) == (None, "ImportError: no name 'BPF'")


def test_the_real_bcc_tells_its_version_whatever_it_prints_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = json.dumps(["0.26.0", "/dist/bcc/__init__.py"])
    interpreter(tmp_path, monkeypatch, f"echo noise; echo '{answer}'")
    found = trials.bcc(Sources())
    assert (found.bcc, found.bcc_place) == ("0.26.0", "/dist/bcc")


def test_a_bcc_that_crashes_without_a_word_is_told_by_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interpreter(tmp_path, monkeypatch, "exit 3")
    assert trials.bcc(Sources()).bcc_error == "exit code 3"


PERF = """case "$1" in
--version) echo perf version 9.9;;
stat) echo "12;;x" >&2;;
*) [ "$2" = -h ] && echo "  -G, --cgroup <name>" || { echo "%s" >&2; exit 255; };;
esac"""


def fake_perf(tmp_path: Path, says: str) -> Perf:
    file = tmp_path / "perf"
    file.write_text("#!/bin/sh\n" + PERF % says + "\n")
    file.chmod(0o755)
    return Perf(str(file), "9.9", True, "cpu-clock")


def test_a_perf_that_refuses_is_a_failure_with_its_code(tmp_path: Path) -> None:
    perf = fake_perf(tmp_path, "Error: Permission denied")
    tried = trials.trial(perf, Trees(ranked=made(tmp_path, "there"), sample="/there"))
    assert isinstance(tried.error, NotPermitted)
    assert (tried.cgroup, tried.error.exit_code) == ("/there", 5)


@pytest.mark.parametrize("sample", ["/there", "/vanished"])
def test_a_cgroup_that_vanished_is_not_held_against_perf(tmp_path: Path, sample: str) -> None:
    perf = fake_perf(tmp_path, "event is not supported")
    script = Path(perf.path or "")
    script.write_text(script.read_text().replace("{ echo", '{ echo "$*" >> $0.asked; echo'))
    tried = trials.trial(perf, Trees(ranked=made(tmp_path, "there"), sample=sample))
    assert tried.error is not None, "this perf refuses the root, too"
    asked = Path(f"{perf.path}.asked").read_text().splitlines()
    names = [words[words.index("-G") + 1] for words in map(shlex.split, asked)]
    assert names == {"/there": ["there"], "/vanished": ["vanished", "/"]}[sample]


def refusing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("cgbpf.sources.bpf.BpfSource", refuse)


def test_a_probe_that_loads_and_can_not_be_flushed_is_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = SourceUnavailable("the kernel can't run the probe on CPU 0")
    error.__cause__ = OSError(22, "Invalid argument")
    refusing(monkeypatch, error)
    assert trials.probe(Sources(libbpf="1.1"), UNIFIED).flush_refused
    assert not trials.probe(Sources(), UNIFIED).flush_refused, "libbpf itself is missing"
    refusing(monkeypatch, NOT_PERMITTED)
    found = trials.probe(Sources(libbpf="1.1"), UNIFIED)
    assert (found.flush_refused, found.bpf_error, found.load_ms) == (False, NOT_PERMITTED, None)


def test_a_mount_that_is_gone_is_no_crash(tmp_path: Path) -> None:
    gone = Hierarchy(2, str(tmp_path / "gone"))
    assert trials.handles(gone) == "No such file or directory"
    failed = trials.files(Trees(ranked=gone), gone)
    assert isinstance(failed, SourceUnavailable)


def test_without_a_perf_nothing_is_tried() -> None:
    assert trials.trial(Perf(), HEALTHY.trees) == Trial()
    assert trials.trial(HEALTHY.perf, Trees()) == Trial()


# Showing


def hostile() -> Facts:
    return taken(
        trial=Trial(HOSTILE),
        host=replace(HEALTHY.host, interpreter=HOSTILE),
        sources=replace(HEALTHY.sources, bcc=None, bcc_error=HOSTILE),
        perf=replace(HEALTHY.perf, event=None, error=PerfUnusable(HOSTILE, HOSTILE)),
    )


def test_json_has_the_keys_of_the_contract_and_can_hold_any_name() -> None:
    text = report_module.as_json(decide(hostile()))
    told = json.loads(text.encode())
    assert {"schema", "ready", "exit_code", "source", "checks"} <= set(told)
    assert (told["schema"], told["ready"], told["exit_code"]) == (1, False, 4)
    assert all(set(each) == {"name", "status", "found", "todo"} for each in told["checks"])
    assert "\\xff" in json.dumps(told)
    assert "\udcff" not in text


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`cgbpf check` in this process, on facts that the test gives."""

    def call(facts: Facts, *words: str) -> tuple[int, str]:
        monkeypatch.setattr(probing, "find_facts", lambda: facts)
        monkeypatch.setattr(sys, "argv", ["cgbpf", "check", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        assert isinstance(ended.value.code, int)
        return ended.value.code, capsys.readouterr().out

    return call


def test_the_screen_ends_with_what_to_do_and_the_verdict(run: Run) -> None:
    code, out = run(replace(UNPRIVILEGED, trial=Trial("/x", NOT_PERMITTED)))
    assert code == 5
    table, _, rest = out.partition("What to do:")
    assert "perf record" in table
    todo = rest.strip().splitlines()
    assert todo[0].startswith("perf record: "), "problems come first"
    assert todo[-1].startswith("cgbpf record will not work here: perf record")
    assert [line for line in todo if ": sudo setpriv " in line and line.endswith("cgbpf record")]
    assert [line for line in todo if line.endswith("setcap cap_perfmon=ep /usr/bin/perf")]


def test_a_command_is_never_broken_to_fit_a_narrow_screen(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cgbpf.report.table.terminal_width", lambda: 40)
    _, out = run(UNPRIVILEGED)
    told = [line for line in out.splitlines() if "sudo" in line]
    assert len(told) == 2
    assert shlex.split(told[0].partition(": ")[2])[-1] == "record"
    table = out.partition("What to do:")[0].splitlines()
    assert all(len(line) <= 40 for line in table)


def test_a_healthy_screen_has_no_list_of_things_to_do(run: Run) -> None:
    code, out = run(HEALTHY)
    assert code == 0
    assert "What to do" not in out
    assert out.strip().endswith("cgbpf record will work, with exact counts by BPF.")


def test_a_fallback_is_told_with_its_reason(run: Run) -> None:
    code, out = run(taken(sources=NO_BPF))
    assert code == 0
    assert "the kernel's files: the BPF source needs CAP_BPF" in out.splitlines()[-1]


@pytest.mark.parametrize("form", ["table", "json"])
def test_nothing_from_outside_reaches_the_terminal_raw(run: Run, form: str) -> None:
    code, out = run(hostile(), "--format", form)
    assert code == 4
    assert "evil" in out
    assert not {"\x1b", "\u202e", "\udcff"} & set(out)


def test_the_table_is_readable_in_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cgbpf.report.table.terminal_width", lambda: 80)
    shown = table_lines(report_module.checks_table(decide(HEALTHY)))
    assert max(map(len, shown.splitlines())) <= 80
    assert "unprivileged_bpf_disabled" in shown
