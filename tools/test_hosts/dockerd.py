"""A private, real Docker daemon: none of the machine's own is asked or disturbed."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tools.test_hosts.base import Container, ContainerHost, HostFailed, run_quietly

IMAGE = "busybox:cgbpf"
_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 60.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)

# dockerd and containerd write to these whatever they are told. They get empty
# ones in a mount namespace of their own, which ends with them.
_IN_OWN_NAMESPACE = """
for folder in /run /opt; do mount -t tmpfs none $folder || exit; done
exec "$@"
"""

_SETTINGS = (
    "--iptables=false",
    "--ip6tables=false",
    "--ip-forward=false",
    "--ip-masq=false",
    "--bridge=none",
    "--storage-driver=vfs",
    "--exec-opt=native.cgroupdriver=cgroupfs",
)
"""No change to the machine's network; a file system that works on any other."""


class DockerHost(ContainerHost):
    """Containers of a dockerd with its own data, state and socket."""

    needs = ("dockerd", "docker", "containerd", "runc", "unshare", "tar")

    def _start(self, stack: contextlib.ExitStack) -> None:
        self._socket = self.folder / "docker.sock"
        self._log = self.folder / "dockerd.log"
        config = self.folder / "daemon.json"
        # Else it writes /etc/docker/key.json.
        config.write_text(json.dumps({"deprecated-key-path": str(self.folder / "key.json")}))
        daemon = self._daemon(config)
        stack.callback(_stop, daemon)
        self._wait_until_up(daemon)
        image = self.folder / "rootfs.tar"
        run_quietly(["tar", "-C", str(self.rootfs), "-cf", str(image), "."])
        self._docker("import", str(image), IMAGE)

    def _daemon(self, config: Path) -> subprocess.Popen[bytes]:
        command = [
            "dockerd", "--config-file", str(config), "-H", f"unix://{self._socket}",
            "--data-root", str(self.folder / "data"), "--exec-root", str(self.folder / "exec"),
            "--pidfile", str(self.folder / "pid"), *_SETTINGS,
        ]  # fmt: skip
        parent = os.getpid()
        with self._log.open("wb") as log:
            return subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", _IN_OWN_NAMESPACE, "sh", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: _end_with(parent),
                env=os.environ | {"PATH": _SYSTEM_PATH},
            )

    def _wait_until_up(self, daemon: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                self._docker("version")
                return
            except HostFailed as error:
                if daemon.poll() is not None or time.monotonic() > end:
                    log = self._log.read_text(errors="replace")[-1000:]
                    raise HostFailed(f"dockerd does not start: {log}") from error
            time.sleep(0.1)

    def run(self, arguments: Sequence[str]) -> Container:
        made = self._docker("create", "--network", "none", IMAGE, *arguments)
        container = Container(made.strip())
        self.containers.append(container)
        self._docker("start", container.id)
        return container

    def _remove(self, container: Container) -> None:
        self._docker("rm", "--force", container.id)

    def _docker(self, *arguments: str) -> str:
        # The client that came with the daemon, with none of the user's settings.
        client = shutil.which("docker", path="/usr/bin") or "docker"
        options = ["--config", str(self.folder / "client"), "-H", f"unix://{self._socket}"]
        return run_quietly([client, *options, *arguments])


def _end_with(parent: int) -> None:
    """Runs in the child: if we die, dockerd is told to stop, and stops its containers."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    """Lets dockerd end its own containerd; kills it only if it won't."""
    daemon.terminate()
    try:
        daemon.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
