"""Tests of the real probe in the real kernel: root, BPF."""
