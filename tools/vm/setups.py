"""The ways in which a host's cgroups can be mounted."""

from __future__ import annotations

from dataclasses import dataclass

V1_MOUNTS = ("cpu,cpuacct", "blkio", "pids", "perf_event")
"""Controllers as systemd mounts them on a v1 host: one hierarchy each."""

V1_LEAVING = ("cpuset", "memory")
"""Mounted where the kernel still has them for v1: CONFIG_MEMCG_V1 (6.11) and
CONFIG_CPUSETS_V1 (6.12) may be off, and are in Debian's 6.12."""


@dataclass(frozen=True)
class Setup:
    """What a machine mounts below /sys/fs/cgroup."""

    v1: tuple[str, ...] = ()
    """The v1 hierarchies, each by its controllers; without any, v1 is off."""
    v2: str | None = None
    """Where cgroup2 is mounted."""

    @property
    def kernel_arguments(self) -> tuple[str, ...]:
        """Without v1 mounts, v1 is switched off: then cgroup2 has every controller."""
        return () if self.v1 else ("cgroup_no_v1=all",)

    def commands(self) -> list[str]:
        """The shell commands that mount it, on a fresh sysfs."""
        lines = []
        if self.v1:
            lines.append("mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup")
            lines += [_mount_v1(each) for each in self.v1]
            lines += [f"{_mount_v1(each)} || true" for each in V1_LEAVING]
        if self.v2:
            lines.append(f"mkdir -p {self.v2}")
            lines.append(f"mount -t cgroup2 cgroup2 {self.v2}")
        if self.v2 and not self.v1:
            # As systemd does: without it, no cgroup but the root counts memory.
            lines.append(f"echo +memory >{self.v2}/cgroup.subtree_control")
        return lines


def _mount_v1(controllers: str) -> str:
    directory = f"/sys/fs/cgroup/{controllers}"
    return f"mkdir {directory} && mount -t cgroup -o {controllers} cgroup {directory}"


SETUPS = {
    "v2": Setup(v2="/sys/fs/cgroup"),
    "v1": Setup(v1=V1_MOUNTS),
    "hybrid": Setup(v1=V1_MOUNTS, v2="/sys/fs/cgroup/unified"),
}
