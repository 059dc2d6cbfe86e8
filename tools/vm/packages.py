"""Kernels from Debian's package archive, kept so that they are there offline.

Nothing is installed: of a package only the kernel itself and the few modules
that its root file system needs are taken out, into ~/.cache/cgbpf/kernels.
"""

from __future__ import annotations

import lzma
import os
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

WANTED_MODULES = ("virtio_pci", "9pnet_virtio", "9p")
"""What a root file system on the host's needs. Debian's cloud kernels have no 9p."""

_TIMEOUT_S = 300.0


class KernelUnavailable(Exception):
    """A package that can't be had, or that holds no kernel fit for the purpose."""


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel."""

    folder: Path
    """Named for the release, for example 6.1.0-56-amd64."""

    @property
    def release(self) -> str:
        """What uname(2) says in it."""
        return self.folder.name

    @property
    def image(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def modules(self) -> list[Path]:
        """In the order in which they have to be loaded."""
        return sorted(self.folder.glob("*.ko"))


def cache_folder() -> Path:
    """Where kernels are kept; may be deleted at any time."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "cgbpf", "kernels")


def kernel_from(package: str) -> Kernel:
    """The kernel that `package` stands for, for example linux-image-amd64.

    Debian's package of that name depends on whichever is the newest, so that
    no version is written here that the archive will have dropped by then. One
    that is kept is used as it is: delete the folder to have a newer one.
    """
    folder = cache_folder() / package
    kept = sorted(folder.glob("*/vmlinuz"), key=lambda image: image.stat().st_mtime)
    if kept:
        return Kernel(kept[-1].parent)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="unpacking-") as name:
        work = Path(name)
        release = unpack(_download(package, work), work / "kernel")
        # Renamed when it is complete: what is found is never half a kernel.
        return Kernel((work / "kernel").rename(folder / release))


def _download(package: str, folder: Path) -> Path:
    """The .deb that `package` depends on; asks the archive anew if its list is stale."""
    try:
        return _download_now(package, folder)
    except KernelUnavailable:
        _run(["apt-get", "update", "-qq"], folder)
        return _download_now(package, folder)


def _download_now(package: str, folder: Path) -> Path:
    depends = _run(["apt-cache", "depends", "--important", package], folder)
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    if found is None:
        raise KernelUnavailable(f"apt knows no kernel by the name {package}")
    _run(["apt-get", "download", "-qq", found[1]], folder)
    return next(folder.glob("*.deb"))


def _run(command: Sequence[str], folder: Path) -> str:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KernelUnavailable(f"{command[0]} can't be run: {error}") from error
    if done.returncode:
        told = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise KernelUnavailable(f"{' '.join(command)}: {told[-1]}")
    return done.stdout


def unpack(deb: Path, folder: Path) -> str:
    """Takes the kernel and its modules out of a package. Returns its release."""
    files = deb.with_suffix(".tar")
    _run(
        ["sh", "-c", 'dpkg-deb --fsys-tarfile "$1" >"$2"', "sh", str(deb), str(files)],
        folder.parent,
    )
    with tarfile.open(files) as package:
        names = [PurePosixPath(each) for each in package.getnames()]
        image = next((each for each in names if each.name.startswith("vmlinuz-")), None)
        if image is None:
            raise KernelUnavailable(f"{deb.name} holds no kernel")
        folder.mkdir()
        modules = Modules(package, names)
        for number, (name, content) in enumerate(modules.closure(WANTED_MODULES)):
            (folder / f"{number:02}-{name}.ko").write_bytes(content)
        (folder / "vmlinuz").write_bytes(read_member(package, image))
    return image.name.removeprefix("vmlinuz-")


class Modules:
    """The modules in a package, and what each needs loaded before it.

    The file that modprobe reads for that, modules.dep, is made only when a
    package is installed; but every module says so itself.
    """

    def __init__(self, package: tarfile.TarFile, names: Sequence[PurePosixPath]) -> None:
        self._package = package
        self._where = {_plain(each): each for each in names if ".ko" in each.suffixes}
        builtin = next(each for each in names if each.name == "modules.builtin")
        lines = read_member(package, builtin).decode().split()
        self._builtin = {_plain(PurePosixPath(each)) for each in lines}

    def closure(self, wanted: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """`wanted` and what they need, each after what it needs itself."""
        done = set(self._builtin)

        def visit(name: str) -> Iterator[tuple[str, bytes]]:
            if name in done:
                return
            done.add(name)
            content = self._content(name)
            for each in dependencies(content):
                yield from visit(each)
            yield name, content

        for name in wanted:
            yield from visit(name)

    def _content(self, name: str) -> bytes:
        if name not in self._where:
            raise KernelUnavailable(f"this kernel has no module {name}")
        path = self._where[name]
        content = read_member(self._package, path)
        return lzma.decompress(content) if path.suffix == ".xz" else content


def dependencies(module: bytes) -> list[str]:
    """The modules named by the `depends=` of a module's .modinfo section."""
    found = re.search(rb"(?<=\0)depends=([^\0]*)\0", module)
    return [each for each in found[1].decode().split(",") if each] if found else []


def _plain(path: PurePosixPath) -> str:
    """A module's name: files may have a dash where the kernel says underscore."""
    return path.name.partition(".ko")[0].replace("-", "_")


def read_member(package: tarfile.TarFile, path: PurePosixPath) -> bytes:
    """The content of the regular file `path`."""
    file = package.extractfile(f"./{path}")
    if file is None:
        raise KernelUnavailable(f"{path} in the package is not a file")
    with file:
        return file.read()
