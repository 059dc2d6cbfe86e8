"""Tests that need no root, no BPF and no perf."""
