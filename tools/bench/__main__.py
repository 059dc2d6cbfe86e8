"""Runs all benchmarks, or those that are named: `python -m tools.bench [--quick] [NAME ...]`.

Each has a process of its own: what one imports or leaves in its heap must not
count against the next. The last line is one JSON object with all results.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

from tools.bench.common import JSON, ends_like_ctrl_c

NAMES = ("probe", "snapshot", "accuracy", "startup", "memory")


def run(name: str, options: list[str]) -> JSON:
    """The result of one benchmark; all it prints before goes to our stdout."""
    command = [sys.executable, "-m", f"tools.bench.{name}", *options]
    last = ""
    # In a session of its own a Ctrl-C reaches it once, from here.
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        try:
            for line in child.stdout or ():
                print(last, end="", flush=True)
                last = line
        except KeyboardInterrupt:
            child.terminate()
            child.wait()  # it cleans up
            raise
    if child.returncode:
        raise SystemExit(f"bench: {name} failed with exit code {child.returncode}")
    result: JSON = json.loads(last)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="few repetitions")
    options = parser.parse_args()
    for name in options.names:
        if name not in NAMES:
            parser.error(f"no benchmark {name!r}; there are: {', '.join(NAMES)}")
    flags = ["--quick"] if options.quick else []
    results = {}
    with ends_like_ctrl_c():
        for name in options.names or NAMES:
            results[name] = run(name, flags)
    print(json.dumps(results if len(results) > 1 else next(iter(results.values()))))


if __name__ == "__main__":
    main()
