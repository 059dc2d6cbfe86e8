"""The command line. One file a command; each is imported only when it is run."""

from __future__ import annotations

import importlib
import io
import logging
import os
import sys
from errno import EDQUOT, EFBIG, ENOSPC

import click

from cgbpf import __version__
from cgbpf.errors import CgbpfError, OutputRefused
from cgbpf.report.text import shown

COMMANDS = {
    "rank": "Rank the hottest cgroups of the next seconds.",
    "record": "Record the hottest cgroups with perf.",
    "check": "Tell what this host can do, and what to do about the rest.",
}

INTERRUPTED = 130
COMPLETION = "_CGBPF_COMPLETE"
"""Set by the shell that asks click for completions."""


class _Lazy(click.Group):
    """Knows its commands' names and summaries without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"cgbpf.cli.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101 - ours
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: cgbpf record --limit 5 --duration 10. "
    "Each command has its own --help; exit codes are in the README.",
)
@click.version_option(__version__, prog_name="cgbpf", message="%(prog)s %(version)s")
def cgbpf() -> None:
    """Which container burns the CPU right now, and in which code."""


def main() -> None:
    """The console script: runs a command, prints any error as one line."""
    _claim_streams()
    if COMPLETION in os.environ:
        cgbpf.main(prog_name="cgbpf")
    try:
        # Not click's own main(), which exits with 1 when a pipe is closed.
        with cgbpf.make_context("cgbpf", sys.argv[1:]) as context:
            code = cgbpf.invoke(context)
        sys.stdout.flush()
    except (click.exceptions.Exit, click.ClickException, click.Abort) as ended:
        code = _answer_click(ended)
    except (Exception, KeyboardInterrupt) as error:
        code = _answer(error)
    sys.exit(_flushed(code or 0))


def _claim_streams() -> None:
    """Sees to it that 0, 1 and 2 are taken: else the next file opened is stdout.

    What is shown on a closed stdout is an error, on a closed stderr it is lost.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open("/dev/full" if number == 1 else os.devnull, os.O_RDWR), number)
            setattr(sys, name, open(number, mode))  # noqa: SIM115 - for good
    for stream in (sys.stdout, sys.stderr):  # what a locale can't show is escaped
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flushed(code: int) -> int:
    """`code`, or that of an output that can't be written: a disk is full."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
    except OSError as error:
        _drop_stdout()
        return code or _answer(error)
    return code


def _drop_stdout() -> None:
    """What is left unwritten goes nowhere, without a word at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _answer_click(ended: click.exceptions.Exit | click.ClickException | click.Abort) -> int:
    if isinstance(ended, click.exceptions.Exit):
        return ended.exit_code
    if isinstance(ended, click.exceptions.NoArgsIsHelpError):
        ended.show()
        return ended.exit_code
    if isinstance(ended, click.Abort):
        return complain("interrupted", INTERRUPTED)
    usage = ended.ctx if isinstance(ended, click.UsageError) else None
    where = f"; see {usage.command_path} --help" if usage else ""
    return complain(ended.format_message().rstrip(".") + where, ended.exit_code)


def _answer(error: BaseException) -> int:
    if isinstance(error, CgbpfError):
        return complain(str(error), error.exit_code)
    if isinstance(error, KeyboardInterrupt):
        return complain("interrupted", getattr(error, "code", INTERRUPTED))
    if isinstance(error, BrokenPipeError):  # the reader has seen enough: no error
        _drop_stdout()
        return 0
    if logging.getLogger().isEnabledFor(logging.DEBUG):
        raise error
    if isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT, EFBIG):
        return complain("the output can't be written: no space left", OutputRefused.exit_code)
    return complain(f"a fault of cgbpf: {error!r}; run again with -v and report it", 1)


def complain(message: str, code: int) -> int:
    """Prints one line on stderr, harmless whatever names are in it."""
    click.echo(f"cgbpf: {shown(message)}", err=True)
    return code
