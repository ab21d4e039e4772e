"""The properties of a process by the names that backends know (contract section 1.4), and its container."""

from pathlib import Path

from rover_core.identity.agent import host_ip
from rover_core.identity.containers import Container, container_of
from rover_core.identity.profilable import Profilability
from rover_core.identity.redaction import command_line
from rover_core.model import Process

SUPPORT = "support_ebpf_profiling"
_MAX_CGROUP = 16384


class Properties:
    """Reads them. root: where /proc is; redacted: whether secrets in command lines are."""

    def __init__(self, root: Path, *, redacted: bool = True) -> None:
        self._root = root
        self._redacted = redacted
        self._profilability = Profilability()
        self._host_ip = host_ip()

    def of(self, process: Process) -> tuple[tuple[str, str], ...]:
        """`host_ip`, `pid`, `command_line`, `support_ebpf_profiling`, in a container `container_id` and
        `container_runtime`."""
        container = self._container(process)
        placed = (("container_id", container.id), ("container_runtime", container.runtime)) if container else ()
        return (
            ("host_ip", self._host_ip),
            ("pid", str(process.pid)),
            ("command_line", command_line(process.cmdline, redacted=self._redacted)),
            (SUPPORT, self.support(process)),
            *placed,
        )

    def support(self, process: Process) -> str:
        """`true` or `false`, as it is now."""
        return str(not self._profilability.objection(f"{self._root}/{process.pid}")).lower()

    def _container(self, process: Process) -> Container | None:
        try:
            with open(f"{self._root}/{process.pid}/cgroup", errors="replace") as file:
                return container_of(file.read(_MAX_CGROUP))
        except OSError:
            return None
