"""Everything cgbpf can fail with: one line that says what to do, and an exit code.

Raised anywhere, printed in one place (`cgbpf.cli.main`). The codes are a
contract for scripts and stand in the README; 1 is a fault of cgbpf itself,
2 a wrong command line (click's code for it).
"""

from __future__ import annotations


class CgbpfError(Exception):
    """A foreseen failure.

    `message` says what is wrong, `hint` what to do about it.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class BadRequest(CgbpfError):
    """What was asked for makes no sense: a column that isn't there, a negative N."""

    exit_code = 2


class NothingFound(CgbpfError):
    """No cgroup used any CPU, or the filters leave none."""

    exit_code = 3


class PerfUnusable(CgbpfError):
    """perf is missing, lacks -G, or no event of it works here."""

    exit_code = 4


class NotPermitted(CgbpfError):
    """The kernel or the file system refuses; says which capability is missing."""

    exit_code = 5


class SourceUnavailable(CgbpfError):
    """The source that was asked for can't run here (`auto` would fall back)."""

    exit_code = 6


class RecordingFailed(CgbpfError):
    """perf started and then failed; what it wrote is kept."""

    exit_code = 7


class OutputRefused(CgbpfError):
    """A file or directory that can't be written, or that is there already."""

    exit_code = 8


class CommandMissing(CgbpfError):
    """The COMMAND to record can't be run; the code is a shell's for it."""

    exit_code = 127


class InputDamaged(CgbpfError):
    """A saved run that can't be read."""

    exit_code = 9
