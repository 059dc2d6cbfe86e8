"""What there is to know of a host before it is judged. Facts only: `decide` has the rules.

`None` = not known here. An `error` is a failure as `record` would meet it, kept
instead of raised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cgbpf.errors import CgbpfError
from cgbpf.hierarchy import Hierarchy
from cgbpf.naming.identity import Identity


@dataclass(frozen=True)
class Host:
    """The machine, and the Python that runs cgbpf."""

    kernel: str = ""
    machine: str = ""
    python: str = ""
    interpreter: str = ""
    """The file itself, no link to it: what setcap(8) works on."""
    program: tuple[str, ...] = ("cgbpf",)
    """How to call cgbpf again, from anywhere."""
    cpus: int = 1
    """Online."""


@dataclass(frozen=True)
class Trees:
    """The cgroup hierarchies, and what is in the ranked one."""

    mounts: tuple[Hierarchy, ...] = ()
    ranked: Hierarchy | None = None
    cpu: Hierarchy | None = None
    """Whose files count CPU."""
    memory: Hierarchy | None = None
    """Whose files count memory."""
    cgroups: int = 0
    """Without the root."""
    complete: bool = True
    """False if there were too many to go through them all."""
    containers: tuple[Identity, ...] = ()
    sample: str = "/"
    """A cgroup to try perf on: our own, else the first, else the root."""
    error: CgbpfError | None = None


@dataclass(frozen=True)
class Perf:
    """What perf says of itself. `error` is the first thing that it lacks."""

    path: str | None = None
    version: str | None = None
    by_cgroup: bool = False
    """Its options list -G."""
    event: str | None = None
    """What is recorded unless told otherwise."""
    error: CgbpfError | None = None


@dataclass(frozen=True)
class Sources:
    """The parts that the BPF source is made of, and the two sources themselves."""

    bcc: str | None = None
    """Its version."""
    bcc_place: str = ""
    bcc_error: str = ""
    libbpf: str | None = None
    """Its version."""
    types: int | None = None
    """How many of the structure offsets wanted are in the kernel's BTF."""
    load_ms: float | None = None
    """Compile, load and attach; None if that failed."""
    snapshot_ms: float | None = None
    flush_refused: bool = False
    """Loaded, but the kernel can't run a program on a chosen CPU."""
    offline_cpus: tuple[int, ...] = ()
    bpf_error: CgbpfError | None = None
    files_error: CgbpfError | None = None
    handles_error: str = ""
    """Why cgroups can't be opened by id."""


@dataclass(frozen=True)
class Trial:
    """A real `perf record -G`, as short as can be."""

    cgroup: str | None = None
    """None: not tried, for want of a perf, an event or a hierarchy."""
    error: CgbpfError | None = None


@dataclass(frozen=True)
class Runtimes:
    """Traces of what runs containers."""

    programs: tuple[str, ...] = ()
    sockets: tuple[str, ...] = ()
    systemd: bool = False
    """It is process 1."""


@dataclass(frozen=True)
class Privileges:
    """Which of `probing.CAPABILITIES` this process has, or could be given."""

    held: frozenset[str] = frozenset()
    bounding: frozenset[str] = frozenset()
    uid: int = 0
    gid: int = 0
    named: bool = False
    """The user stands in passwd, so that its groups can be looked up."""


@dataclass(frozen=True)
class Settings:
    """The kernel's own rules."""

    sysctls: Mapping[str, str | None] = field(default_factory=dict)
    lockdown: str | None = None
    """"none", "integrity", "confidentiality"; None where there is no such thing."""
    kernel_symbols: bool = False
    """This user sees the addresses in /proc/kallsyms."""


@dataclass(frozen=True)
class Limits:
    """Hard limits (perf raises the soft ones itself); -1 = none."""

    open_files: int = -1
    locked_bytes: int = -1


@dataclass(frozen=True)
class Facts:
    """Everything `decide` looks at."""

    host: Host = Host()
    perf: Perf = Perf()
    trees: Trees = Trees()
    sources: Sources = Sources()
    trial: Trial = Trial()
    runtimes: Runtimes = Runtimes()
    privileges: Privileges = Privileges()
    settings: Settings = Settings()
    limits: Limits = Limits()
    faults: Mapping[str, str] = field(default_factory=dict)
    """Name of one of the above -> why it could not be found out."""
