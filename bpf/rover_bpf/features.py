"""What this host offers an eBPF agent: the lines that `rover doctor` prints."""

import os
import platform
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from rover_bpf.btf import VMLINUX, Btf, BtfError
from rover_bpf.loader import find_bcc_python
from rover_bpf.tracefs import find_tracefs
from rover_core.api import Diagnostic, Health
from rover_core.errors import RoverError

OLDEST_KERNEL = (5, 8)
"""Ring buffers and CAP_BPF came with 5.8; batched map reads with 5.6, BTF of the kernel itself with 5.2."""

# Bits of /proc/<pid>/status CapEff (include/uapi/linux/capability.h), and what Rover does with each.
_SYS_ADMIN = 21
CAPABILITIES = {
    "CAP_BPF": (39, "load eBPF programs and create their maps"),
    "CAP_PERFMON": (38, "attach them to perf events, tracepoints and probes"),
    "CAP_SYS_PTRACE": (
        19,
        "see the memory mappings of other users' processes, without which addresses have no names",
    ),
    "CAP_DAC_READ_SEARCH": (2, "read executables, perf maps and /proc files of other users"),
    "CAP_SYSLOG": (34, "see kernel addresses in /proc/kallsyms, without which kernel frames have no names"),
}
_ESSENTIAL = ("CAP_BPF", "CAP_PERFMON")
_INITIAL_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h


def host_diagnostics() -> Iterator[Diagnostic]:
    """Everything eBPF profiling rests on, whatever the profiler."""
    yield _kernel()
    yield _btf()
    yield _bcc()
    yield from capability_diagnostics(effective_capabilities())
    yield _tracefs()
    yield _pid_namespace()
    yield from _lockdown()


def _kernel() -> Diagnostic:
    release = platform.release()
    detail = f"Linux {release} {platform.machine()}"
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    if numbers >= OLDEST_KERNEL:
        return Diagnostic("kernel", Health.OK, detail)
    return Diagnostic("kernel", Health.PROBLEM, detail, "Rover needs Linux 5.8 or later")


def _btf() -> Diagnostic:
    try:
        Btf().offset("task_struct", "comm")
    except BtfError as error:
        what, why, remedy = error.args
        return Diagnostic("BTF", Health.PROBLEM, f"{what}: {why}", remedy)
    except KeyError as error:
        return Diagnostic("BTF", Health.PROBLEM, f"{VMLINUX} has no {error.args[0]}")
    return Diagnostic("BTF", Health.OK, f"{VMLINUX}, so no kernel headers are needed")


def _bcc() -> Diagnostic:
    try:
        return Diagnostic("BCC", Health.OK, f"for {find_bcc_python()}, used by the loader process alone")
    except RoverError as error:
        return Diagnostic("BCC", Health.PROBLEM, f"{error.what} ({error.why})", error.remedy)


def effective_capabilities() -> int:
    """The bits of this process's effective set."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def capability_diagnostics(effective: int) -> Iterator[Diagnostic]:
    """One line for each capability that is used, with the command that grants what is missing."""
    administrator = effective >> _SYS_ADMIN & 1
    for name, (bit, purpose) in CAPABILITIES.items():
        if effective >> bit & 1 or (administrator and name in _ESSENTIAL):
            yield Diagnostic(name, Health.OK, f"to {purpose}")
        else:
            health = Health.PROBLEM if name in _ESSENTIAL else Health.WARNING
            yield Diagnostic(name, health, f"missing: it is needed to {purpose}", _grant(name))


def grant_command(program: str = sys.argv[0]) -> str:
    """What gives an ordinary user's Rover all it needs, and nothing more: setpriv(1) is on every Debian."""
    wanted = ",".join("+" + name.removeprefix("CAP_").lower() for name in CAPABILITIES)
    # sudo looks for programs in the system's folders only, and a virtual environment is none of them.
    rover = shlex.quote(str(Path(program).absolute())) if Path(program).name == "rover" else "rover"
    options = f"--reuid $USER --regid $(id -g) --init-groups --inh-caps {wanted} --ambient-caps {wanted}"
    return f"sudo setpriv {options} {rover} doctor"


def _grant(name: str) -> str:
    return f"{grant_command()} (in a systemd unit: AmbientCapabilities={name})"


def _tracefs() -> Diagnostic:
    place = find_tracefs()
    if place:
        return Diagnostic("tracefs", Health.OK, str(place))
    if os.geteuid() == 0:
        return Diagnostic("tracefs", Health.OK, "not mounted; Rover mounts it when a profiler needs tracepoints")
    return Diagnostic(
        "tracefs",
        Health.WARNING,
        "not mounted, or not for this user; only profilers that use plain tracepoints need it",
        "sudo mount -t tracefs tracefs /sys/kernel/tracing",
    )


def _pid_namespace() -> Diagnostic:
    try:
        initial = os.stat("/proc/self/ns/pid").st_ino == _INITIAL_PID_NAMESPACE
    except OSError as error:
        return Diagnostic("pid namespace", Health.WARNING, f"/proc/self/ns/pid: {error.strerror}")
    if initial:
        return Diagnostic("pid namespace", Health.OK, "the host's")
    return Diagnostic(
        "pid namespace",
        Health.WARNING,
        "a container's: the kernel reports processes by the host's numbers, which cannot be looked up in here",
        "run the container with --pid=host (Kubernetes: hostPID: true)",
    )


def _lockdown() -> Iterator[Diagnostic]:
    try:
        modes = Path("/sys/kernel/security/lockdown").read_text()
    except OSError:
        return  # no lockdown in this kernel, or securityfs not mounted
    if "[confidentiality]" in modes:
        yield Diagnostic(
            "lockdown",
            Health.WARNING,
            "confidentiality mode: reading kernel memory is refused, so processes cannot be told by name",
            "boot with lockdown=integrity",
        )
