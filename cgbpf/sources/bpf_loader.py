"""The short-lived child that compiles, loads and attaches the probe.

`python -m cgbpf.sources.bpf_loader SOCKET CONFIG` is started by `bpf`. It
alone imports bcc, whose compiler would keep 120 MB in a process that stays.
It sends the descriptors of maps, programs and attachments over the socket and
ends: whoever holds them holds the probe, and when the last holder dies, the
kernel takes the probe away. What the compiler prints stays in here, too.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

SOURCE = "cgroup_cpu.c"
MAPS = ("cpus", "usages", "gone", "gone_lost")
CHARGING = ("sched_switch", "hrtimer_expire_entry", "cpuhp_enter")
NAMING = "cgroup_rmdir"


def bpf_folder() -> Path:
    """Where the C is: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "bpf"
    return installed if installed.is_dir() else package.parent / "bpf"


OFFSETS = {
    "CGROUP_KN": ("cgroup", "kn"),
    "CGROUP_ROOT": ("cgroup", "root"),
    "ROOT_HIERARCHY_ID": ("cgroup_root", "hierarchy_id"),
    "KERNFS_ID": ("kernfs_node", "id"),
}
V1_OFFSETS = {
    "TASK_CGROUPS": ("task_struct", "cgroups"),
    "CSS_SET_SUBSYS": ("css_set", "subsys"),
    "CSS_CGROUP": ("cgroup_subsys_state", "cgroup"),
}


def kernel_constants(controller: str | None = None) -> dict[str, int]:
    """What the program must know of the running kernel, from its BTF.

    For cgroup2 (no `controller`) it can do without: {} then, and removed
    cgroups lose their paths. For v1 it can't: raises OSError, LookupError.
    """
    from cgbpf.sources.btf import KernelTypes

    try:
        with KernelTypes() as types:
            wanted = OFFSETS | (V1_OFFSETS if controller else {})
            found = {name: types.offset(*place) for name, place in wanted.items()}
            if controller:
                enumerator = f"{controller}_cgrp_id"
                found["SUBSYSTEM"] = types.enumerator("cgroup_subsys_id", enumerator)
            return found
    except (OSError, LookupError):
        if controller:
            raise
        return {}


def load(constants: dict[str, int], controller: str | None = None) -> tuple[dict[str, int], Any]:
    """Descriptors by name, and the object whose life they depend on.

    `controller`: of the v1 hierarchy that counts, None for cgroup2.
    """
    os.environ["BCC_KERNEL_SOURCE"] = str(bpf_folder())
    from bcc import BPF  # type: ignore[import-untyped,unused-ignore]

    from cgbpf.sources.libbpf import possible_cpus

    constants = constants | {"POSSIBLE_CPUS": possible_cpus()} | kernel_constants(controller)
    flags = [f"-D{name}={value}" for name, value in constants.items()]
    try:
        program, flush = _compiled(BPF, flags)
    except Exception:  # a kernel before 5.3 takes no loops: only now is it worth the time
        program, flush = _compiled(BPF, [*flags, "-DUNROLL"])
    fds = {name: program[name].map_fd for name in MAPS} | {"flush": flush}
    for name in (*CHARGING, NAMING):
        attached = program.raw_tracepoint_fds.get(name.encode())
        if attached is not None:
            fds[f"attached:{name}"] = attached
            fds[f"program:{name}"] = program.funcs[f"raw_tracepoint__{name}".encode()].fd
    return fds, program


def _compiled(bpf: Any, flags: list[str]) -> tuple[Any, int]:
    """The program, all its raw tracepoints attached or none, and `flush`'s descriptor."""
    program = bpf(src_file=str(bpf_folder() / SOURCE), cflags=flags)
    try:
        return program, program.load_func("flush", bpf.RAW_TRACEPOINT).fd
    except BaseException:
        program.cleanup()
        raise


def _failure(error: BaseException, noise: str) -> dict[str, Any]:
    lines = [line.strip() for line in noise.splitlines() if line.strip()]
    return {"error": f"{type(error).__name__}: {error}", "noise": lines[-200:]}


def main(arguments: list[str]) -> None:
    channel = socket.socket(fileno=int(arguments[0]))
    with tempfile.TemporaryFile("w+", errors="replace") as noise:
        os.dup2(noise.fileno(), 1)
        os.dup2(noise.fileno(), 2)
        try:
            fds, _attached = load(**json.loads(arguments[1]))
        except BaseException as error:  # bcc raises bare Exception, and SystemExit
            sys.stderr.flush()
            noise.seek(0)
            socket.send_fds(channel, [json.dumps(_failure(error, noise.read())).encode()], [])
        else:
            message = json.dumps({"fds": list(fds)}).encode()
            socket.send_fds(channel, [message], list(fds.values()))
            # Descriptors in flight keep the probe, and _attached kept them until now.
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
