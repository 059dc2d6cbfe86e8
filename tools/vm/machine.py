"""Boots a kernel, runs one command in it, and takes what it printed."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.vm.initramfs import ROOT_TAG, guest_script, initramfs
from tools.vm.packages import Kernel
from tools.vm.setups import Setup

QEMU = "qemu-system-x86_64"
CPUS = 2
MEMORY_MIB = 2048
TIMEOUT_S = 600.0
_TAIL_LINES = 60
_PR_SET_PDEATHSIG = 1

_KERNEL_ARGUMENTS = (
    "console=ttyS0",
    "loglevel=4",
    "panic=-1",  # with -no-reboot: a panic ends the machine
    "tsc=reliable",  # emulated, it is one clock for all CPUs, but does not say so
    "nowatchdog",  # an emulated CPU may be kept waiting for seconds
    "mitigations=off",  # a third of the time of each system call
)


class VmFailed(Exception):
    """The machine did not boot, or did not answer; says what was on its console."""

    def __init__(self, problem: str, console: str) -> None:
        tail = "\n".join(console.splitlines()[-_TAIL_LINES:])
        super().__init__(f"{problem}; the end of its console:\n{tail or '(nothing)'}")


@dataclass(frozen=True)
class Outcome:
    """What became of the command."""

    exit_code: int
    output: str
    console: str
    """The kernel's messages and the command's stderr."""
    seconds: float
    """From the start of the machine until it was off."""


def run(
    kernel: Kernel,
    setup: Setup,
    command: Sequence[str],
    *,
    folder: Path | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Outcome:
    """Runs `command` as root in a machine of its own, in `folder` (else this one).

    Raises VmFailed where there is no answer in time. The machine is gone
    afterwards in every case, even if this process is killed.
    """
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cgbpf-vm-") as name:
        files = Path(name)
        here = folder or Path.cwd()
        script = guest_script(setup, command, here)
        (files / "initramfs").write_bytes(initramfs(kernel, script, here))
        with _started(qemu_command(kernel, setup, files), files) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout_s)
            in_time = process.poll() is not None
        return _outcome(files, in_time, timeout_s, time.monotonic() - begun)


def qemu_command(kernel: Kernel, setup: Setup, files: Path) -> list[str]:
    """The machine: two serial lines into `files`, the host's root, no network, no disk."""
    arguments = " ".join((*_KERNEL_ARGUMENTS, *setup.kernel_arguments))
    share = "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"
    return [
        QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max",
        "-smp", str(CPUS), "-m", str(MEMORY_MIB),
        "-kernel", str(kernel.image), "-initrd", str(files / "initramfs"), "-append", arguments,
        "-serial", f"file:{files / 'console'}", "-serial", f"file:{files / 'answer'}",
        "-fsdev", share, "-device", f"virtio-9p-pci,fsdev=root,mount_tag={ROOT_TAG}",
    ]  # fmt: skip


@contextlib.contextmanager
def _started(command: Sequence[str], files: Path) -> Iterator[subprocess.Popen[bytes]]:
    """qemu, which ends with this block, and with this process however that ends."""
    if shutil.which(command[0]) is None:
        raise VmFailed(f"{command[0]} is not installed (apt install qemu-system-x86)", "")
    parent, libc = os.getpid(), ctypes.CDLL(None)

    def die_with_parent() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    with (files / "qemu").open("wb") as told:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=told, stderr=told, preexec_fn=die_with_parent
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _outcome(files: Path, in_time: bool, timeout_s: float, seconds: float) -> Outcome:
    console = _text(files / "qemu") + _text(files / "console")
    answer = _text(files / "answer")
    found = re.search(r"\nexit=(\d+)\n\Z", answer)
    if not in_time:
        raise VmFailed(f"the machine was not done after {timeout_s:.0f} s", console)
    if found is None:
        raise VmFailed(f"the machine ended after {seconds:.0f} s without an answer", console)
    return Outcome(int(found[1]), answer[: found.start()], console, seconds)


def _text(path: Path) -> str:
    """What was written to `path`; serial lines end theirs with CR LF."""
    return path.read_text(errors="replace").replace("\r", "") if path.exists() else ""
