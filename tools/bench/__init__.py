"""Benchmarks: one file each, run by `python -m tools.bench [--quick] [NAME ...]`.

Every figure stands beside a floor or a peer that was measured in the same
run, in turns with it, because the machine drifts by more than what is
measured. The last line a benchmark prints is its result, one JSON object.
"""
