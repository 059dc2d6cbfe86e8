"""`python -m tools.vm SETUP -- COMMAND`: a command in another kernel."""

from __future__ import annotations

import argparse
import sys

from tools.vm.machine import TIMEOUT_S, VmFailed, run
from tools.vm.packages import KernelUnavailable, kernel_from
from tools.vm.setups import SETUPS


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.vm", description="Runs a command in another kernel, emulated."
    )
    parser.add_argument("setup", choices=SETUPS, help="how cgroups are mounted")
    parser.add_argument("command", nargs="+", help="run as root, in this folder")
    parser.add_argument("--kernel", default="linux-image-amd64", help="a package (%(default)s)")
    parser.add_argument("--timeout", type=float, default=TIMEOUT_S, help="seconds (%(default)s)")
    return parser.parse_args()


def main() -> int:
    """The command."""
    asked = _arguments()
    try:
        kernel = kernel_from(asked.kernel)
        outcome = run(kernel, SETUPS[asked.setup], asked.command, timeout_s=asked.timeout)
    except (KernelUnavailable, VmFailed) as error:
        print(f"vm: {error}", file=sys.stderr)
        return 125
    sys.stdout.write(outcome.output)
    sys.stderr.write(outcome.console)
    print(f"{kernel.release}: {outcome.seconds:.1f} s", file=sys.stderr)
    return outcome.exit_code


if __name__ == "__main__":
    sys.exit(main())
