"""The few calls of libbpf that the process that stays needs, by ctypes.

libbpf comes with BCC. It is called instead of bpf(2) itself because system
call numbers and structure sizes differ between processors. Signatures:
libbpf's src/bpf.h and src/btf.h, 1.0 and later.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint32, c_void_p
from functools import lru_cache
from typing import Any

_TEST_RUN_ON_CPU = 1


class _TestRunOptions(ctypes.Structure):
    _fields_ = [
        ("sz", c_size_t),
        ("data_in", c_void_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_void_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration", c_uint32),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    ]


@lru_cache(maxsize=1)
def library() -> Any:
    """libbpf, quiet. Raises OSError where it is not installed."""
    lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
    lib.libbpf_set_print.argtypes = [c_void_p]
    lib.libbpf_set_print(None)
    batch: list[Any] = [c_int, c_void_p, c_void_p, c_void_p, c_void_p, POINTER(c_uint32), c_void_p]
    lib.bpf_map_lookup_batch.argtypes = batch
    lib.bpf_map_lookup_and_delete_batch.argtypes = batch
    lib.bpf_map_delete_elem.argtypes = [c_int, c_void_p]
    lib.bpf_map_get_next_key.argtypes = [c_int, c_void_p, c_void_p]
    lib.bpf_map_lookup_elem.argtypes = [c_int, c_void_p, c_void_p]
    lib.bpf_prog_test_run_opts.argtypes = [c_int, c_void_p]
    lib.btf__load_vmlinux_btf.restype = c_void_p
    lib.btf__find_by_name_kind.argtypes = [c_void_p, c_char_p, c_uint32]
    lib.btf__type_by_id.argtypes = [c_void_p, c_uint32]
    lib.btf__type_by_id.restype = c_void_p
    lib.btf__name_by_offset.argtypes = [c_void_p, c_uint32]
    lib.btf__name_by_offset.restype = c_char_p
    lib.btf__free.argtypes = [c_void_p]
    return lib


def last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def possible_cpus() -> int:
    """How many CPUs the kernel is prepared for: the width of per-CPU maps."""
    count: int = library().libbpf_num_possible_cpus()
    if count < 0:
        raise OSError(-count, os.strerror(-count))
    return count


def run_on_cpu(program: int, cpu: int) -> None:
    """Runs a raw tracepoint program on `cpu`, whose task is then the current one.

    Kernel 5.10+ (commit 1b4d60ec162f). Raises OSError ENXIO for an offline CPU.
    """
    options = _TestRunOptions(sz=ctypes.sizeof(_TestRunOptions), flags=_TEST_RUN_ON_CPU, cpu=cpu)
    if library().bpf_prog_test_run_opts(program, byref(options)):
        raise last_error()
