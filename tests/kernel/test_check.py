"""`cgbpf check` on the real kernel, as root and as users who may less."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.cgroups import CgroupTree
from tests.support.command import cgbpf, for_anybody

pytestmark = pytest.mark.kernel

NOBODY = 65534
CAPABILITIES = "+bpf,+perfmon"
TOOL = Path(__file__).resolve().parents[2] / "tools" / "simple_cgroup_test.py"


def as_nobody(capabilities: str = "") -> tuple[str, ...]:
    given = (f"--inh-caps={capabilities}", f"--ambient-caps={capabilities}") if capabilities else ()
    user = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    return (*for_anybody(), str(shutil.which("setpriv")), *user, *given)


def check(
    prefix: tuple[str, ...] = (), env: Mapping[str, str] | None = None
) -> tuple[int, Any, dict[str, Any]]:
    """Exit code, the whole answer, its lines by name."""
    done = cgbpf("check", "--format", "json", prefix=prefix, env=env)
    assert "Traceback" not in done.stderr
    told = json.loads(done.stdout)
    return done.returncode, told, {each["name"]: each for each in told["checks"]}


def test_root_is_ready_and_everything_was_tried(cgroups: CgroupTree) -> None:
    code, told, lines = check()
    assert (code, told["ready"], told["source"]) == (0, True, "bpf")
    assert "problem" not in {each["status"] for each in told["checks"]}
    assert "loaded in" in lines["bpf source"]["found"]
    assert "-G works, tried on /" in lines["perf record"]["found"]
    assert lines["flush"]["found"].startswith("works")
    assert lines["event"]["found"] in ("cycles", "cpu-clock")
    assert int(lines["cgroups"]["found"]) >= 1


def test_a_container_is_seen(cgroups: CgroupTree) -> None:
    cgroups.make(f"docker/{'c' * 64}")
    _, _, lines = check()
    assert "docker" in lines["containers"]["found"]


def test_without_privileges_the_code_is_that_of_record(cgroups: CgroupTree, tmp_path: Path) -> None:
    code, told, lines = check(as_nobody())
    assert (code, told["ready"], told["source"]) == (5, False, "files")
    assert lines["perf record"]["status"] == "problem"
    assert "CAP_PERFMON" in lines["perf record"]["found"]
    assert "CAP_BPF" in told["fallback_reason"]
    cgroups.root.spin()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        record = ("record", "--limit", "1", "--duration", "1", "--output", f"{folder}/out")
        assert cgbpf(*record, prefix=as_nobody()).returncode == code


def test_the_two_capabilities_are_enough(cgroups: CgroupTree) -> None:
    code, told, lines = check(as_nobody(CAPABILITIES))
    assert (code, told["ready"], told["source"]) == (0, True, "bpf")
    assert lines["capabilities"]["status"] == "ok"
    assert lines["file handles"]["status"] == "warning"


@pytest.mark.parametrize("capability", ["+bpf", "+perfmon"])
def test_one_of_the_two_is_not(capability: str, cgroups: CgroupTree) -> None:
    code, told, lines = check(as_nobody(capability))
    assert told["source"] == "files"
    missing = {"+bpf": "CAP_PERFMON", "+perfmon": "CAP_BPF"}[capability]
    assert lines["capabilities"]["found"].endswith(f"lacks {missing}")
    assert code == (5 if capability == "+bpf" else 0), "perf needs CAP_PERFMON alone"


def test_an_ordinary_user_with_the_two_capabilities_ranks_and_records(
    cgroups: CgroupTree,
) -> None:
    cgroups.root.spin()
    user = as_nobody(CAPABILITIES)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        only = ("--window", "0.5", "--include", f"{cgroups.root.path}*")
        ranked = cgbpf("rank", *only, "--format", "json", prefix=user)
        assert ranked.returncode == 0, ranked.stderr
        assert json.loads(ranked.stdout)["source"] == "bpf"
        assert json.loads(ranked.stdout)["cgroups"][0]["path"] == cgroups.root.path
        output = f"{folder}/out"
        done = cgbpf("record", *only, "--duration", "1", "--output", output, prefix=user)
        assert done.returncode == 0, done.stderr
        told = json.loads(Path(output, "manifest.json").read_text())
        assert told["cgroups"][0]["samples"] > 0


def test_the_command_that_it_prints_grants_what_it_says(cgroups: CgroupTree) -> None:
    _, _, lines = check(as_nobody())
    todo = lines["capabilities"]["todo"]
    told = next(each for each in todo.split("; or ") if each.startswith("for one run: "))
    sudo, *command, last = shlex.split(told.removeprefix("for one run: "))
    assert (sudo, last) == ("sudo", "record")
    command = [*for_anybody(), *command, "check", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["source"] == "bpf"


def test_without_perf_it_says_what_to_install(tmp_path: Path) -> None:
    for prefix in ((), as_nobody(CAPABILITIES)):
        code, told, lines = check(prefix, {"PATH": str(tmp_path)})
        assert (code, told["source"]) == (4, "bpf")
        assert lines["perf"]["todo"] == "apt install linux-perf"
        assert lines["perf record"]["found"] == "not tried"


def test_a_damaged_perf_is_a_line(tmp_path: Path) -> None:
    perf = tmp_path / "perf"
    perf.write_text("not a program")
    perf.chmod(0o755)
    code, told, lines = check(env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert (code, told["ready"]) == (4, False)
    assert "can't be run" in lines["perf"]["found"]
    assert lines["bpf source"]["status"] == "ok"


def mentioned_by(text: str) -> list[str]:
    """Command lines of processes that name `text`."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if text in line:
            found.append(line)
    return found


def test_nothing_is_left_behind(tmp_path: Path, cgroups: CgroupTree) -> None:
    _, told, _ = check(env={"TMPDIR": str(tmp_path)})
    assert told["ready"]
    assert list(tmp_path.iterdir()) == []
    assert mentioned_by(str(tmp_path)) == []


def test_nor_where_it_is_ended_in_the_middle_of_trying_perf(
    tmp_path: Path, cgroups: CgroupTree
) -> None:
    command = [sys.executable, "-m", "cgbpf", "check"]
    running = subprocess.Popen(
        command, env=os.environ | {"TMPDIR": str(tmp_path)}, stdout=subprocess.DEVNULL
    )
    end = time.monotonic() + 30
    while not list(tmp_path.glob("cgbpf-check-*/perf.data")) and time.monotonic() < end:
        assert running.poll() is None, "perf was never tried"
        time.sleep(0.001)
    running.terminate()
    assert running.wait(30) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
    assert mentioned_by(str(tmp_path)) == []


def test_the_documents_script_prints_its_four_sections_and_a_command_that_runs(
    cgroups: CgroupTree, tmp_path: Path
) -> None:
    cgroups.make(f"docker/{'c' * 64}").spin()
    done = subprocess.run([sys.executable, str(TOOL)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "=== Simple Cgroup Test for Perf Profiling ==="
    assert [line for line in lines if line[:2] in ("1.", "2.", "3.", "4.")] == [
        "1. System Capabilities:",
        "2. Docker Container Analysis:",
        "3. Perf Command Example:",
        "4. Benefits of Cgroup-based Profiling:",
    ]
    assert "   Cgroup filesystem: ✅ Available" in lines
    assert [line for line in lines if line.startswith("   | cccccccccccc ")]
    (command,) = [line.strip() for line in lines if line.startswith("   perf record -a ")]
    words = shlex.split(command)
    assert words[-2:] == ["sleep", "10"]
    output = tmp_path / "perf.data"
    run = [*words[:2], "-o", str(output), *words[2:-1], "0.5"]
    recorded = subprocess.run(run, capture_output=True, text=True)
    assert recorded.returncode == 0, recorded.stderr
    assert output.stat().st_size > 0
