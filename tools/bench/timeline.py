"""Where the time of `cgbpf rank` goes: the same steps, one by one, in a process of their own.

`python -m tools.bench.timeline rank|loader STARTED_NS`; prints one JSON object
of milliseconds. Imports nothing of ours before the clock has been read.
"""

import sys
import time

_STEPS: list[tuple[str, int]] = []


def _mark(name: str) -> None:
    """Ends the step `name`, which began where the last one ended."""
    _STEPS.append((name, time.monotonic_ns()))


def rank() -> None:
    """What `cgbpf rank` does, without the window."""
    import cgbpf.cli
    import cgbpf.cli.rank

    _mark("import the command line")
    from cgbpf.sources.choose import open_source

    _mark("import the choice of sources")
    source = open_source("bpf")
    _mark("load the probe (child), import NumPy meanwhile")
    import cgbpf.pipeline
    import cgbpf.report.ranking
    from cgbpf.model import Recipe

    _mark("import the pipeline")
    observed = cgbpf.pipeline.observe(source, 1e-6)
    _mark("two snapshots and their difference")
    result = cgbpf.pipeline.ranking(observed, Recipe(), source)
    _mark("ranking")
    cgbpf.report.ranking.as_json(result, source, per_cpu=False)
    _mark("report")
    source.close()
    _mark("detach")


def _nothing(controller: str | None = None) -> dict[str, int]:
    return {}


def loader() -> None:
    """What the child does that compiles and attaches."""
    import cgbpf.sources.bpf_loader as child

    _mark("import the loader")
    child.kernel_constants()
    _mark("offsets from BTF")
    import bcc  # type: ignore[import-untyped,unused-ignore]  # noqa: F401

    _mark("import bcc")
    child.kernel_constants = _nothing  # done above
    child.load({"MAX_CGROUPS": 16_384, "MAX_GONE": 4096, "HIERARCHY_ID": 0})
    _mark("compile, load, attach")


def main() -> None:
    _mark("start the interpreter")
    {"rank": rank, "loader": loader}[sys.argv[1]]()
    import json

    last, steps = int(sys.argv[2]), {}
    for name, at in _STEPS:
        steps[name] = (at - last) / 1e6
        last = at
    print(json.dumps(steps), flush=True)


if __name__ == "__main__":
    main()
