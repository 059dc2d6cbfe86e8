"""The parts of a machine that need no machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools.vm import SETUPS, Kernel, KernelUnavailable, kernel_from
from tools.vm.initramfs import BUSYBOX, guest_script, initramfs
from tools.vm.packages import dependencies


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    folder = tmp_path / "1.2.3-test"
    folder.mkdir()
    for name in ("01-second.ko", "00-first.ko"):
        (folder / name).write_bytes(b"a module")
    return Kernel(folder)


def test_modules_are_loaded_in_the_order_of_their_numbers(kernel: Kernel) -> None:
    assert [each.name for each in kernel.modules] == ["00-first.ko", "01-second.ko"]
    assert kernel.release == "1.2.3-test"


def test_the_archive_holds_what_it_was_given(kernel: Kernel, tmp_path: Path) -> None:
    """Read by another program than the one that wrote it."""
    folder = tmp_path / "unpacked"
    folder.mkdir()
    archive = initramfs(kernel, "a script", Path("/x"))
    subprocess.run([BUSYBOX, "cpio", "-i", "-d"], cwd=folder, check=True, input=archive)
    files = {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}
    modules = {"modules/00-first.ko", "modules/01-second.ko"}
    assert files == modules | {"init", "guest", "folder", "bin/busybox"}
    assert (folder / "guest").read_text() == "a script"
    assert (folder / "bin/busybox").read_bytes() == BUSYBOX.read_bytes()
    assert (folder / "init").stat().st_mode & 0o111


def test_scripts_are_shell(tmp_path: Path) -> None:
    for setup in SETUPS.values():
        script = guest_script(setup, ["echo", "it's; $HOME"], tmp_path / "a folder")
        subprocess.run(["sh", "-n"], input=script, text=True, check=True)
        assert """echo 'it'"'"'s; $HOME' """ in script


def test_only_pure_cgroup2_switches_v1_off() -> None:
    off = {name for name, each in SETUPS.items() if each.kernel_arguments}
    assert off == {"v2"}
    assert not any("cgroup2" in each for each in SETUPS["v1"].commands())


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (b"\0license=GPL\0depends=9pnet,netfs\0name=9p\0", ["9pnet", "netfs"]),
        (b"\0depends=\0name=netfs\0", []),
        (b"\0license=GPL\0", []),
        (b"softdepends=no\0", []),
    ],
)
def test_dependencies_of_a_module(module: bytes, expected: list[str]) -> None:
    assert dependencies(module) == expected


def test_a_package_that_is_kept_needs_no_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cgbpf" / "kernels" / "linux-image-test" / "1.2.3"
    folder.mkdir(parents=True)
    (folder / "vmlinuz").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")
    assert kernel_from("linux-image-test").release == "1.2.3"


def test_without_apt_a_package_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(KernelUnavailable, match="can't be run"):
        kernel_from("linux-image-test")
    assert not list(tmp_path.rglob("unpacking-*"))


def test_the_command_says_what_it_lacks_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.vm", "v2", "true"],
        env={"PATH": "/nowhere", "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 125
    assert done.stderr.startswith("vm: apt-get can't be run")
    assert done.stderr.count("\n") == 1
