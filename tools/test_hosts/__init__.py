"""Real container runtimes for tests: started, driven, and gone without a trace.

A host is a context manager:

    with RuncHost() as host:
        container = host.run(shell_loop(100))
        ...

It ends only what it started, and removes only cgroups that were not there
before. Containers have a busybox for a root file system and no network.
"""

from tools.test_hosts.base import Container, ContainerHost, HostFailed
from tools.test_hosts.dockerd import DockerHost
from tools.test_hosts.runc import RuncHost

__all__ = ["Container", "ContainerHost", "DockerHost", "HostFailed", "RuncHost"]
