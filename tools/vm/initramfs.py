"""The first file system of a machine: busybox, modules, and two scripts.

It finds the host's root on 9p and goes over to it. Made anew for each run, as
it also carries what is to be run.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tools.vm.packages import Kernel
from tools.vm.setups import Setup

BUSYBOX = Path("/bin/busybox")
ROOT_TAG = "host"
"""What the host calls the file system that it hands over."""

_DIRECTORY, _PROGRAM = 0o040755, 0o100755

# A script that fails is process 1 that ends: the kernel panics, and with
# panic=-1 and -no-reboot the machine is off at once.
_INIT = f"""#!/bin/busybox sh
set -e
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
for module in /modules/*; do insmod "$module"; done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro {ROOT_TAG} /host
mount -o bind /host /again
mount -t proc proc /host/proc
mount -t sysfs sys /host/sys
mount -t devtmpfs dev /host/dev
mount -t tmpfs tmp /host/tmp
mount -t tmpfs run /host/run
FOLDER=$(cat /folder)
case $FOLDER in /tmp/*|/run/*) # else what was mounted there just now would hide it
    mkdir -p "/host$FOLDER"
    mount -o bind "/again$FOLDER" "/host$FOLDER"
esac
cp /guest /host/run/guest
exec switch_root /host /bin/sh /run/guest
"""

_ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/tmp",  # the host's is read-only
    "LC_ALL": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
}


def guest_script(setup: Setup, command: Sequence[str], folder: Path) -> str:
    """What runs on the host's root: mounts, the command, off.

    The command's output goes to the second serial line, and its exit code
    after it; what it says on stderr goes to the first, among the kernel's
    messages.
    """
    exports = [f"export {name}={value}" for name, value in _ENVIRONMENT.items()]
    return "\n".join(
        [
            "set -e",
            *exports,
            "mkdir /dev/shm",
            "mount -t tmpfs shm /dev/shm",
            "ln -s /proc/self/fd /dev/fd",
            *setup.commands(),
            f"cd {shlex.quote(str(folder))}",
            "stty -F /dev/ttyS1 -opost",
            "set +e",
            f"{shlex.join(command)} </dev/null >/dev/ttyS1 2>/dev/console",
            r'printf "\nexit=%d\n" $? >/dev/ttyS1',
            f"exec {BUSYBOX} reboot -f",
            "",
        ]
    )


def initramfs(kernel: Kernel, script: str, folder: Path) -> bytes:
    """The archive, as the kernel takes it. `folder`: what the script must see."""
    files = {
        "init": _INIT.encode(),
        "guest": script.encode(),
        "folder": str(folder).encode(),
        "bin/busybox": BUSYBOX.read_bytes(),
    }
    files |= {f"modules/{each.name}": each.read_bytes() for each in kernel.modules}
    return b"".join(_archive(("again", "bin", "dev", "host", "modules", "proc"), files))


def _archive(folders: Sequence[str], files: Mapping[str, bytes]) -> Iterator[bytes]:
    for name in folders:
        yield _entry(name, _DIRECTORY, b"")
    for name, content in files.items():
        yield _entry(name, _PROGRAM, content)
    yield _entry("TRAILER!!!", 0, b"")


def _entry(name: str, mode: int, content: bytes) -> bytes:
    """One file in cpio's "newc" format.

    See Documentation/driver-api/early-userspace/buffer-format.rst in the kernel.
    """
    path = name.encode() + b"\0"
    # ino, mode, uid, gid, nlink, mtime, size, device and rdevice (two each), name, check
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0)
    header = b"070701" + b"".join(b"%08X" % each for each in fields)
    return _padded(header + path) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
