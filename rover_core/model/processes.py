"""Processes, and what backends call them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class ProcessKey:
    """Identity of a process, safe against reuse of its pid.

    start_ticks: field 22 of /proc/<pid>/stat, clock ticks (USER_HZ, 1/100 s) from boot to the process's start.
    """

    pid: int
    start_ticks: int


@dataclass(frozen=True, slots=True)
class Entity:
    """A process as a backend sees it (contract section 1.4, EBPFProcessEntityMetadata)."""

    layer: str
    service: str
    instance: str
    process: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Process:
    """A process of this host. `exe` is None for kernel threads and where the link may not be read.

    properties: what else is known of it, as (name, value), by the names of contract section 1.4 (`host_ip`, `pid`,
    `command_line`, `support_ebpf_profiling`) and of its discoverers (`container_id`).
    """

    key: ProcessKey
    ppid: int
    comm: str
    exe: str | None
    cmdline: tuple[str, ...]
    uid: int
    kernel_thread: bool = False
    entities: tuple[Entity, ...] = ()
    properties: tuple[tuple[str, str], ...] = ()

    @property
    def pid(self) -> int:
        return self.key.pid

    @property
    def name(self) -> str:
        """The executable's base name, or the kernel's comm where there is no executable to be seen."""
        return self.exe.removesuffix(" (deleted)").rsplit("/", 1)[-1] if self.exe else self.comm
