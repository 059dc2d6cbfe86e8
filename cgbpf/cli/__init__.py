"""The command line. One file a command; each is imported only when it is run."""

from __future__ import annotations

import importlib
import logging
import os
import sys

import click

from cgbpf import __version__
from cgbpf.errors import CgbpfError
from cgbpf.report.text import shown

COMMANDS = {
    "rank": "Rank the hottest cgroups of the next seconds.",
    "record": "Record the hottest cgroups with perf.",
    "check": "Tell what this host can do, and what to do about the rest.",
}

INTERRUPTED = 130


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
    try:
        code = cgbpf.main(standalone_mode=False)
        sys.stdout.flush()
    except CgbpfError as error:
        code = complain(str(error), error.exit_code)
    except click.exceptions.Exit as ended:
        code = ended.exit_code
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        where = f"see {context.command_path} --help" if context else ""
        message = error.format_message().rstrip(".")
        code = complain(f"{message}; {where}" if where else message, error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        code = complain("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader has seen enough: no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        code = complain(str(error), 1)
    except Exception as error:
        if logging.getLogger().isEnabledFor(logging.DEBUG):
            raise
        code = complain(f"a fault of cgbpf: {error!r}; run again with -v and report it", 1)
    sys.exit(code or 0)


def complain(message: str, code: int) -> int:
    """Prints one line on stderr, harmless whatever names are in it."""
    click.echo(f"cgbpf: {shown(message)}", err=True)
    return code
