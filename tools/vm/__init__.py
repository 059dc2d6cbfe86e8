"""Other kernels, in a virtual machine that sees this host's files.

    python -m tools.vm v1 -- uname -r

boots Debian's packaged kernel under software emulation (never /dev/kvm) with
the host's root read-only, runs the command there as root, prints what it
printed and ends with its exit code. `tests/kernels` does the same.
"""

from tools.vm.machine import Outcome, VmFailed, run
from tools.vm.packages import Kernel, KernelUnavailable, kernel_from
from tools.vm.setups import SETUPS, Setup

__all__ = [
    "SETUPS",
    "Kernel",
    "KernelUnavailable",
    "Outcome",
    "Setup",
    "VmFailed",
    "kernel_from",
    "run",
]
