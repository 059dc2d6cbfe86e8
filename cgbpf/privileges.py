"""Which capabilities this process has (capabilities(7)), and which it needs."""

from __future__ import annotations

from pathlib import Path

from cgbpf.errors import NotPermitted

# Bit numbers: include/uapi/linux/capability.h. CAP_SYS_ADMIN stands in for
# the newer ones on every kernel.
CAPABILITIES = {
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_SYS_ADMIN": 21,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}
FOR_BPF = ("CAP_BPF", "CAP_PERFMON")


def effective() -> frozenset[str]:
    """The names of those of `CAPABILITIES` that this process has."""
    status = Path("/proc/self/status").read_text()
    mask = int(next(line for line in status.splitlines() if line.startswith("CapEff:"))[7:], 16)
    return frozenset(name for name, bit in CAPABILITIES.items() if mask >> bit & 1)


def missing_for_bpf(held: frozenset[str]) -> list[str]:
    """What the BPF source lacks. Since 5.8 (commit a17b53c4a4b5) it needs no root."""
    return [] if "CAP_SYS_ADMIN" in held else [each for each in FOR_BPF if each not in held]


def require_bpf() -> None:
    """Raises NotPermitted if the BPF source can't be loaded by this process."""
    missing = missing_for_bpf(effective())
    if missing:
        raise NotPermitted(
            f"the BPF source needs {' and '.join(missing)}",
            "run as root, or grant them; see cgbpf check",
        )
