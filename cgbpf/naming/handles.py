"""Cgroup id -> path by file handle, without walking the tree.

On 64-bit kernels a cgroup's id is its kernfs node's, which is also what its
file handle holds: open_by_handle_at(2) with type FILEID_KERNFS and the 8-byte
id gives the directory itself in constant time (5.5+, commit 33c5ac9175195).
Needs CAP_DAC_READ_SEARCH; where that is refused, `HandleRefused` says so and
the caller walks.
"""

from __future__ import annotations

import ctypes
import errno
import os

from cgbpf.hierarchy import Hierarchy

FILEID_KERNFS = 0xFE
_REFUSED = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


class HandleRefused(Exception):
    """The process or the kernel can't open cgroups by handle."""


class _FileHandle(ctypes.Structure):
    _fields_ = [
        ("handle_bytes", ctypes.c_uint32),
        ("handle_type", ctypes.c_int32),
        ("id", ctypes.c_uint64),
    ]


_libc = ctypes.CDLL(None, use_errno=True)
_libc.open_by_handle_at.argtypes = [ctypes.c_int, ctypes.POINTER(_FileHandle), ctypes.c_int]
_libc.open_by_handle_at.restype = ctypes.c_int


class Handles:
    """Opens the cgroups of one hierarchy by id."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self._prefix = hierarchy.mount
        self._mount = os.open(hierarchy.mount, os.O_RDONLY | os.O_DIRECTORY)
        self._handle = _FileHandle(8, FILEID_KERNFS, 0)
        self._pointer = ctypes.pointer(self._handle)

    def path(self, cgroup_id: int) -> str | None:
        """The path of `cgroup_id` from the hierarchy's root, None if it is gone."""
        self._handle.id = cgroup_id
        fd = _libc.open_by_handle_at(self._mount, self._pointer, os.O_PATH)
        if fd < 0:
            if ctypes.get_errno() in _REFUSED:
                raise HandleRefused(os.strerror(ctypes.get_errno()))
            return None
        try:
            full = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:  # ENAMETOOLONG: deeper than a path can tell
            return None
        finally:
            os.close(fd)
        if full.endswith(" (deleted)") and not os.path.lexists(full):
            return None
        if full == self._prefix:
            return "/"
        if not full.startswith(self._prefix + "/"):
            return None  # outside of what the mount shows: a container's part
        return full[len(self._prefix) :]

    def close(self) -> None:
        if self._mount >= 0:
            os.close(self._mount)
            self._mount = -1
