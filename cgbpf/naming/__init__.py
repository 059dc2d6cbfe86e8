"""Cgroup id -> path -> what a person calls it."""
