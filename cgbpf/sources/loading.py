"""Starts the child that loads the probe, and takes over what it sends.

Imports little, so that the child compiles while its parent still imports.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from cgbpf import privileges
from cgbpf.errors import CgbpfError, NotPermitted, SourceUnavailable
from cgbpf.hierarchy import Hierarchy, v1_controllers

MIN_CGROUPS = 16_384
MAX_CGROUPS = 1 << 20
MAX_GONE = 4096
"""Removals between two snapshots whose paths are kept."""

_TIMEOUT_S = 120.0
"""Compiling takes 0.2 s natively, but up to 45 s in an emulated machine."""


def room_for(cgroups: int) -> int:
    """Map entries for a host that has `cgroups` now: twice that, a power of two."""
    return min(MAX_CGROUPS, max(MIN_CGROUPS, 1 << (2 * cgroups - 1).bit_length()))


def count_cgroups(hierarchy: Hierarchy) -> int:
    """How many cgroups there are: for cgroup2 from cgroup.stat of the root (4.14+)."""
    if hierarchy.version == 1:
        return v1_controllers().get(hierarchy.controller or "", (0, 0))[1]
    try:
        text = Path(hierarchy.directory("/"), "cgroup.stat").read_text()
        return int(dict(line.split() for line in text.splitlines())["nr_descendants"])
    except (OSError, KeyError, ValueError):
        return 0


class Loading:
    """A probe that is being compiled and attached by `bpf_loader`.

    Raises CgbpfError at once where that can't succeed.
    """

    def __init__(self, hierarchy: Hierarchy, max_cgroups: int | None = None) -> None:
        if hierarchy.version == 1 and hierarchy.controller is None:
            raise SourceUnavailable(
                f"the v1 hierarchy at {hierarchy.mount} has no controller that the kernel "
                "could be asked for",
                "use --source files",
            )
        privileges.require_bpf()
        self.max_cgroups = max_cgroups or room_for(count_cgroups(hierarchy))
        constants = {
            "MAX_CGROUPS": self.max_cgroups,
            "MAX_GONE": MAX_GONE,
            "HIERARCHY_ID": hierarchy.number(),
        }
        config = {"constants": constants, "controller": hierarchy.controller}
        try:
            self._start(config)
        except OSError as error:
            raise SourceUnavailable(
                f"the probe's loader can't be started: {error}", "see cgbpf check"
            ) from error

    def _start(self, config: dict[str, Any]) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:  # closed here, or the wait for it has no end when the child fails
            # -I: what lies in the working directory must not be imported by root.
            self._child = subprocess.Popen(
                [sys.executable, "-I", "-m", "cgbpf.sources.bpf_loader", str(theirs.fileno()),
                 json.dumps(config)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def descriptors(self) -> dict[str, int]:
        """Waits for the child's descriptors, by name; they are the caller's to close."""
        message, fds = b"", list[int]()
        try:
            self._socket.settimeout(_TIMEOUT_S)
            message, fds, _, _ = socket.recv_fds(self._socket, 1 << 20, 64)
        except TimeoutError:
            pass
        finally:
            self.cancel()
        answer: dict[str, Any] = (
            json.loads(message) if message else {"error": "the loader gave no answer"}
        )
        if "error" in answer or len(fds) != len(answer["fds"]):
            for fd in fds:
                os.close(fd)
            answer.setdefault("error", "too few open files are allowed (ulimit -n)")
            raise _translate(answer)
        return dict(zip(answer["fds"], fds, strict=True))

    def cancel(self) -> None:
        """Ends the child. What it has sent stays."""
        self._socket.close()
        self._child.kill()
        self._child.wait()


def _translate(answer: dict[str, Any]) -> CgbpfError:
    """What the loader's failure means, and what to do about it."""
    error = str(answer["error"])
    noise = answer.get("noise")
    detail = error if not noise else f"{error} ({noise[-1]})"
    if "No module named 'bcc'" in error or "cannot import name 'BPF'" in error:
        return SourceUnavailable(
            f"BCC is not installed for {sys.executable}",
            "apt install python3-bpfcc, and use a Python that sees it "
            "(/usr/bin/python3, or a venv with --system-site-packages)",
        )
    if "the kernel's BTF" in error:
        return SourceUnavailable(
            f"counting a v1 hierarchy needs the kernel's type information: {error}",
            "use a kernel with CONFIG_DEBUG_INFO_BTF, or --source files",
        )
    if "Operation not permitted" in detail or "Permission denied" in detail:
        return NotPermitted(
            f"the kernel refuses to load the probe: {detail}",
            "run as root, or with CAP_BPF and CAP_PERFMON; see cgbpf check",
        )
    return SourceUnavailable(f"the probe can't be loaded: {detail}", "see cgbpf check")
