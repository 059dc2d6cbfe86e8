"""The directory a recording goes to."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
from pathlib import Path

from cgbpf.errors import OutputRefused
from cgbpf.model import JSON

DATA = "perf.data"
MANIFEST = "manifest.json"


class OutputFolder:
    """A directory for this user alone: stacks and paths may be secrets.

    Made, or taken if it is there, empty, no link and this user's own: in a
    directory that others may write to, root would follow what they plant.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._former_mode: int | None = None
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            self._take()
        except OSError as error:
            raise _refused(path, error.strerror or str(error)) from error

    def _take(self) -> None:
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            raise _refused(self.path, "it is no directory, or a link to one") from error
        try:
            found = os.fstat(handle)
            if found.st_uid != os.geteuid():
                raise _refused(self.path, "it is another user's")
            if os.listdir(handle):
                raise OutputRefused(f"{self.path} is not empty", "name another --output")
            os.fchmod(handle, 0o700)
            self._former_mode = stat.S_IMODE(found.st_mode)
        except OSError as error:
            raise _refused(self.path, error.strerror or str(error)) from error
        finally:
            os.close(handle)

    def give_up(self) -> None:
        """Leaves all as it was, if nothing was written."""
        with contextlib.suppress(OSError):
            if any(self.path.iterdir()):
                return
            if self._former_mode is None:
                self.path.rmdir()
            else:
                self.path.chmod(self._former_mode)


def _refused(path: Path, why: str) -> OutputRefused:
    return OutputRefused(f"can't write to {path}: {why}", "name another --output")


def write_manifest(folder: Path, manifest: JSON) -> None:
    """Writes the manifest whole or not at all (rename(2) is atomic)."""
    draft = None
    try:
        number, draft = tempfile.mkstemp(dir=folder, prefix=f".{MANIFEST}.")
        with open(number, "w", encoding="ascii") as file:
            json.dump(manifest, file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, folder / MANIFEST)
        draft = None
    except OSError as error:
        raise OutputRefused(
            f"can't write {folder / MANIFEST}: {error.strerror}", "the profile beside it is kept"
        ) from error
    finally:
        if draft:  # also where a signal came in between
            with contextlib.suppress(OSError):
                os.unlink(draft)
