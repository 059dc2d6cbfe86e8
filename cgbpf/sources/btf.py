"""Offsets of structure members, from the kernel's own type information (BTF).

Read by libbpf, from /sys/kernel/btf/vmlinux (5.4+ with CONFIG_DEBUG_INFO_BTF).
"""

from __future__ import annotations

import ctypes
from types import TracebackType
from typing import Any

from cgbpf.sources.libbpf import library

# include/uapi/linux/btf.h
_STRUCT = 4
_ENUM = 6


class _Type(ctypes.Structure):
    _fields_ = [
        ("name_offset", ctypes.c_uint32),
        ("info", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
    ]


class _Member(ctypes.Structure):
    _fields_ = [
        ("name_offset", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("offset", ctypes.c_uint32),
    ]


class _Value(ctypes.Structure):
    _fields_ = [("name_offset", ctypes.c_uint32), ("value", ctypes.c_int32)]


class KernelTypes:
    """The running kernel's structures. Raises OSError where there is no BTF."""

    def __init__(self) -> None:
        self._lib = library()
        self._btf = self._lib.btf__load_vmlinux_btf()
        if not self._btf:
            number = ctypes.get_errno()
            raise OSError(number, "the kernel's BTF can't be read")

    def offset(self, structure: str, member: str) -> int:
        """Offset of `structure.member` in bytes. Raises LookupError."""
        kind, members = self._entries(structure, _STRUCT, _Member)
        for each in members:
            if self._name(each) == member:
                # kind_flag: the upper byte is then the size of a bit field.
                bits = each.offset & 0xFFFFFF if kind.info >> 31 else each.offset
                return int(bits) // 8
        raise LookupError(f"no member {member} in struct {structure} of the kernel's BTF")

    def enumerator(self, enum: str, name: str) -> int:
        """Value of `name` in `enum`. Raises LookupError."""
        _, values = self._entries(enum, _ENUM, _Value)
        for each in values:
            if self._name(each) == name:
                return int(each.value)
        raise LookupError(f"no {name} in enum {enum} of the kernel's BTF")

    def _entries(self, name: str, kind: int, entry: Any) -> tuple[_Type, Any]:
        """The type `name`, and what follows it: its members or values."""
        number = self._lib.btf__find_by_name_kind(self._btf, name.encode(), kind)
        if number < 0:
            raise LookupError(f"no {name} in the kernel's BTF")
        address = self._lib.btf__type_by_id(self._btf, number)
        found = _Type.from_address(address)
        return found, (entry * (found.info & 0xFFFF)).from_address(address + ctypes.sizeof(_Type))

    def _name(self, entry: Any) -> str:
        name: bytes = self._lib.btf__name_by_offset(self._btf, entry.name_offset)
        return name.decode()

    def __enter__(self) -> KernelTypes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lib.btf__free(self._btf)
