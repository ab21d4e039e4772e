"""What network profiling comes to on this kernel: lines of `rover doctor`."""

from collections.abc import Iterator, Sequence

from rover_core import procfs
from rover_core.api import Diagnostic, Health, TlsLibrary
from rover_core.errors import RoverError
from rover_network.counter import NetworkCounter
from rover_network.tls.finder import TlsProbes

_MAY_LOOK = "run as root, or grant CAP_SYS_PTRACE"


def diagnose() -> Iterator[Diagnostic]:
    """Load and attach for real, then let go."""
    try:
        counter = NetworkCounter()
    except RoverError as error:
        yield Diagnostic("network profiling", Health.PROBLEM, f"{error.what}: {error.why}", error.remedy)
        return
    counter.close()
    yield Diagnostic("network profiling", Health.OK, f"by the raw tracepoints {counter.probes.label}")
    for purpose, why in counter.probes.missing.items():
        yield Diagnostic(f"network: {purpose}", Health.WARNING, f"not measured: {why}")


def diagnose_tls(pid: int, libraries: Sequence[TlsLibrary]) -> Iterator[Diagnostic]:
    """Which files of a process encrypt connections, and whether their plain text can be read."""
    files = TlsProbes(None, libraries).files_of(pid)
    for each in files:
        health = Health.WARNING if each.reason else Health.OK
        state = f"cannot be read: {each.reason}" if each.reason else f"read by {len(each.probes)} probes"
        yield Diagnostic(f"TLS: {each.library}", health, f"{each.label}: {state}")
    if not files and (reason := _unreadable(pid)):
        yield Diagnostic("TLS", Health.PROBLEM, f"its mappings cannot be read: {reason}", _MAY_LOOK)
    elif not files:
        yield Diagnostic("TLS", Health.OK, "no library that encrypts connections is known to be in this process")


def _unreadable(pid: int) -> str:
    try:
        (procfs.proc_root() / str(pid) / "maps").read_bytes()
    except OSError as error:
        return error.strerror or str(error)
    return ""
