"""BPF maps as NumPy arrays, through libbpf."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_size_t, c_uint32, c_uint64
from errno import EINVAL, ENOENT, ENOTSUP
from typing import TYPE_CHECKING, Any

import numpy as np

from cgbpf.sources.libbpf import last_error, library

if TYPE_CHECKING:
    from cgbpf.model import U64

_CHUNK = 2048
"""Entries a batch: bounds the buffer where a value has a copy for each of many CPUs."""


class _BatchOptions(ctypes.Structure):
    _fields_ = [("sz", c_size_t), ("elem_flags", c_uint64), ("flags", c_uint64)]


def read_one(map_fd: int, width: int, copies: int) -> U64:
    """The value of key 0 of an array of 64-bit fields, as shape (copies, width)."""
    value = np.zeros((copies, width), dtype=np.uint64)
    key = c_uint32(0)
    if library().bpf_map_lookup_elem(map_fd, byref(key), value.ctypes.data):
        raise last_error()
    return value


class HashReader:
    """Reads a hash map with 64-bit keys as arrays, in few system calls."""

    def __init__(self, map_fd: int, value_bytes: int, max_entries: int) -> None:
        self._fd = map_fd
        self._room = min(_CHUNK, max_entries)
        self._keys = np.empty(self._room, dtype=np.uint64)
        self._values = np.empty((self._room, value_bytes), dtype=np.uint8)
        self._no_batches = False
        self._options = _BatchOptions(sz=ctypes.sizeof(_BatchOptions))

    def read(self) -> tuple[U64, Any]:
        """All keys (n,) and the bytes of all values (n, value_bytes)."""
        return self._all(library().bpf_map_lookup_batch, drain=False)

    def drain(self) -> tuple[U64, Any]:
        """As `read`, and leaves the map empty."""
        return self._all(library().bpf_map_lookup_and_delete_batch, drain=True)

    def _all(self, call: Any, drain: bool) -> tuple[U64, Any]:
        if not self._no_batches:
            try:
                return self._batches(call)
            except OSError as error:
                if error.errno not in (EINVAL, ENOTSUP):
                    raise
                self._no_batches = True
        return self._one_by_one(drain)

    def _one_by_one(self, drain: bool) -> tuple[U64, Any]:
        """For kernels before 5.6, which have no batches (commit cb4d03ab499d)."""
        keys, values = [], []
        key, before = c_uint64(0), None
        while library().bpf_map_get_next_key(self._fd, before, byref(key)) == 0:
            value = np.empty(self._values.shape[1], dtype=np.uint8)
            if library().bpf_map_lookup_elem(self._fd, byref(key), value.ctypes.data) == 0:
                keys.append(key.value)
                values.append(value)
            before = byref(c_uint64(key.value))
        found = np.array(keys, dtype=np.uint64)
        if drain:
            self.delete(found)
        shape = (len(keys), self._values.shape[1])
        return found, np.array(values, dtype=np.uint8).reshape(shape)

    def _batches(self, call: Any) -> tuple[U64, Any]:
        keys, values = [], []
        token, before = c_uint64(0), None
        while True:
            count = c_uint32(self._room)
            failed = call(
                self._fd,
                before,
                byref(token),
                self._keys.ctypes.data,
                self._values.ctypes.data,
                byref(count),
                byref(self._options),
            )
            if failed and ctypes.get_errno() != ENOENT:
                raise last_error()
            keys.append(self._keys[: count.value].copy())
            values.append(self._values[: count.value].copy())
            if failed:  # ENOENT: that was the last batch
                return np.concatenate(keys), np.concatenate(values)
            before = byref(token)

    def delete(self, keys: U64) -> None:
        """Deletes `keys`; those that are gone already are no error."""
        for key in keys:
            one = c_uint64(int(key))
            if library().bpf_map_delete_elem(self._fd, byref(one)) and ctypes.get_errno() != ENOENT:
                raise last_error()
