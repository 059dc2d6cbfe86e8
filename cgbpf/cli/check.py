"""`cgbpf check`: what this host can do, and what to do about the rest."""

from __future__ import annotations

import signal
import sys

import click

from cgbpf.cli.options import verbosity

EPILOG = """\b
Examples:
  cgbpf check
  cgbpf check --format json | jq '.checks[] | select(.status != "ok")'
  cgbpf check > /dev/null && cgbpf record
"""


@click.command("check", epilog=EPILOG)
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True,
    help="How to print it.",
)  # fmt: skip
@verbosity
def command(form: str) -> int:
    """Tell what this host can do, and what to do about the rest.

    Nothing is guessed: the probe is loaded and read, and perf record -G is
    run, each for a moment. A problem stands in the way of `cgbpf record`, a
    warning does not. Exit code 0 when `cgbpf record` will work, else the one
    that it would end with: 4 perf, 5 permission, 6 no source of numbers.
    """
    from cgbpf.check.decide import decide
    from cgbpf.check.probing import find_facts

    # So that a trial that is cut short is cleaned up after.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    report = decide(find_facts())
    from cgbpf.report import checks

    if form == "json":
        click.echo(checks.as_json(report))
        return report.exit_code
    from cgbpf.report.table import lines

    click.echo(lines(checks.checks_table(report)))
    todo = checks.todo_lines(report)
    if todo:
        click.echo("\nWhat to do:")
    for line in todo:
        click.echo(line.plain)
    click.echo()
    click.echo(checks.verdict(report).plain)
    return report.exit_code
