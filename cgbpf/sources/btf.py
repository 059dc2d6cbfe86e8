"""Offsets of structure members, from the kernel's own type information (BTF).

Read by libbpf, from /sys/kernel/btf/vmlinux (5.4+ with CONFIG_DEBUG_INFO_BTF).
"""

from __future__ import annotations

import ctypes
from types import TracebackType

from cgbpf.sources.libbpf import library

_STRUCT = 4  # BTF_KIND_STRUCT, include/uapi/linux/btf.h


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
        number = self._lib.btf__find_by_name_kind(self._btf, structure.encode(), _STRUCT)
        if number < 0:
            raise LookupError(f"no struct {structure} in the kernel's BTF")
        address = self._lib.btf__type_by_id(self._btf, number)
        kind = _Type.from_address(address)
        count = kind.info & 0xFFFF
        members = (_Member * count).from_address(address + ctypes.sizeof(_Type))
        for each in members:
            if self._lib.btf__name_by_offset(self._btf, each.name_offset) == member.encode():
                # kind_flag: the upper byte is then the size of a bit field.
                bits = each.offset & 0xFFFFFF if kind.info >> 31 else each.offset
                return int(bits) // 8
        raise LookupError(f"no member {member} in struct {structure} of the kernel's BTF")

    def __enter__(self) -> KernelTypes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lib.btf__free(self._btf)
