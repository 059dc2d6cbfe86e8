"""Which container burns the CPU, exactly, and in which code."""

__version__ = "0.1.0"
