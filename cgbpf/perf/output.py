"""The directory a recording goes to."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from cgbpf.errors import OutputRefused
from cgbpf.model import JSON

DATA = "perf.data"
MANIFEST = "manifest.json"


def make_folder(path: Path) -> None:
    """Makes `path` for this user alone: stacks and paths may be secrets.

    An empty directory may be there; one with anything in it is refused.
    """
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        if any(path.iterdir()):
            raise OutputRefused(f"{path} is not empty", "name another --output")
        path.chmod(0o700)
    except OSError as error:
        raise OutputRefused(
            f"can't write to {path}: {error.strerror}", "name another --output"
        ) from error


def remove_if_empty(path: Path) -> None:
    """Takes an unused output directory away again."""
    with contextlib.suppress(OSError):
        path.rmdir()


def write_manifest(folder: Path, manifest: JSON) -> None:
    """Writes the manifest whole or not at all (rename(2) is atomic)."""
    draft = folder / f".{MANIFEST}.{os.getpid()}"
    try:
        with draft.open("w", encoding="ascii") as file:
            json.dump(manifest, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / MANIFEST)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise OutputRefused(
            f"can't write {folder / MANIFEST}: {error.strerror}", "the profile beside it is kept"
        ) from error
