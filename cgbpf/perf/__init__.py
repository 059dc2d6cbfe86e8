"""Driving perf: arguments, the process, the recording, what it recorded."""
