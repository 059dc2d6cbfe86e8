"""runc alone: the lowest layer of Docker, containerd and CRI-O."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Sequence
from typing import Any

from tools.test_hosts.base import Container, ContainerHost, run_quietly


class RuncHost(ContainerHost):
    """Containers of `runc`, with cgroups where Docker's cgroupfs driver makes them."""

    needs = ("runc",)

    def _start(self, stack: contextlib.ExitStack) -> None:
        """Nothing: runc has no daemon."""

    def run(self, arguments: Sequence[str]) -> Container:
        container = Container(secrets.token_hex(32))
        bundle = self.folder / container.id
        bundle.mkdir()
        config = oci_config(str(self.rootfs), container.path, arguments)
        (bundle / "config.json").write_text(json.dumps(config))
        self.containers.append(container)
        self._runc("run", "--detach", "--bundle", str(bundle), container.id)
        return container

    def _remove(self, container: Container) -> None:
        # --force: kills it, and one that is gone is no error.
        self._runc("delete", "--force", container.id)

    def _runc(self, *arguments: str) -> None:
        # A folder of its own, not the machine's /run/runc.
        run_quietly(["runc", "--root", str(self.folder / "state"), *arguments])


def oci_config(rootfs: str, cgroup: str, arguments: Sequence[str]) -> dict[str, Any]:
    """The least that the OCI runtime specification wants of a config.json."""
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": list(arguments),
            "env": ["PATH=/bin"],
            "cwd": "/",
            "noNewPrivileges": True,
        },
        "root": {"path": rootfs, "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
        ],
        "linux": {
            "cgroupsPath": cgroup,
            "namespaces": [{"type": each} for each in ("pid", "mount", "ipc", "uts", "network")],
        },
    }
