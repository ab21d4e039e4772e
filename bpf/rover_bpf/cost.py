"""What Rover's programs cost, by the kernel's own clock: BPF statistics, switched on for some seconds."""

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rover_bpf.syscalls import BpfCommand, bpf
from rover_core.api import Diagnostic, Health

_SECONDS = 5.0
_OURS = "rover_"  # how the names of all our functions begin; the kernel keeps 15 characters
_RUN_TIME = 0  # enum bpf_stats_type


class _Statistics(ctypes.Structure):
    _fields_ = (("type", ctypes.c_uint32),)


class _ById(ctypes.Structure):
    _fields_ = (("id", ctypes.c_uint32), ("next_id", ctypes.c_uint32), ("open_flags", ctypes.c_uint32))


class _Query(ctypes.Structure):
    _fields_ = (("fd", ctypes.c_uint32), ("size", ctypes.c_uint32), ("info", ctypes.c_uint64))


class _Info(ctypes.Structure):
    """struct bpf_prog_info of include/uapi/linux/bpf.h, up to run_cnt."""

    _fields_ = (
        ("unused", ctypes.c_uint8 * 64),
        ("name", ctypes.c_char * 16),
        ("unused_too", ctypes.c_uint8 * 112),
        ("run_time_ns", ctypes.c_uint64),
        ("run_cnt", ctypes.c_uint64),
    )


@dataclass(frozen=True, slots=True)
class Cost:
    """What one loaded function did in `seconds`: how often it ran, and for how long in all."""

    name: str
    runs: int
    ns: int
    seconds: float

    @property
    def ns_per_run(self) -> float:
        return self.ns / self.runs if self.runs else 0.0

    @property
    def share_of_a_core(self) -> float:
        """0..1 and more: programs run on all processors."""
        return self.ns / (self.seconds * 1e9)


def measure(seconds: float = _SECONDS) -> list[Cost]:
    """Of every function of Rover's on this host, whichever agent loaded it; blocks that long. Raises OSError.

    Functions that are loaded or let go meanwhile are left out. Needs CAP_SYS_ADMIN.
    """
    with _opened() as programs, _statistics():
        before = {number: _read(fd) for number, fd in programs.items()}
        begin = time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - begin
        after = {number: _read(fd) for number, fd in programs.items()}
    costs = [
        Cost(name, runs - before[number][1], ns - before[number][2], took)
        for number, (name, runs, ns) in after.items()
    ]
    return sorted(costs, key=lambda cost: (-cost.ns, cost.name))


def cost_diagnostics(seconds: float = _SECONDS) -> Iterator[Diagnostic]:
    """The lines of `rover doctor --cost`."""
    try:
        costs = measure(seconds)
    except OSError as error:
        remedy = "run as root: CAP_SYS_ADMIN is needed to see other processes' programs"
        yield Diagnostic("cost", Health.WARNING, f"cannot be measured: {error.strerror}", remedy)
        return
    if not costs:
        remedy = "start `rover run` or `rover profile`, and ask again while it runs"
        yield Diagnostic("cost", Health.WARNING, "no eBPF program of Rover's is loaded", remedy)
        return
    for cost in costs:
        yield Diagnostic(f"cost of {cost.name}", Health.OK, _sentence(cost), figures=_figures(cost))
    total = sum(cost.share_of_a_core for cost in costs)
    seconds = costs[0].seconds
    figures = {"share_of_a_core": total, "seconds": seconds}
    yield Diagnostic("cost of all", Health.OK, f"{total:.2%} of a core, over {seconds:.1f} s", figures=figures)


def _figures(cost: Cost) -> dict[str, float]:
    return {
        "events": cost.runs,
        "events_per_s": cost.runs / cost.seconds,
        "ns_per_event": cost.ns_per_run,
        "share_of_a_core": cost.share_of_a_core,
        "seconds": cost.seconds,
    }


def _sentence(cost: Cost) -> str:
    if not cost.runs:
        return "did not run"
    rate = cost.runs / cost.seconds
    return f"{cost.ns_per_run:.0f} ns per event, {rate:,.0f} events/s, {cost.share_of_a_core:.2%} of a core"


@contextmanager
def _statistics() -> Iterator[None]:
    """On while this lasts: the kernel counts who wants them, so nobody else's setting is touched (Linux 5.8)."""
    fd = bpf(BpfCommand.ENABLE_STATS, _Statistics(_RUN_TIME))
    try:
        yield
    finally:
        os.close(fd)


@contextmanager
def _opened() -> Iterator[dict[int, int]]:
    """Descriptors of our functions by id."""
    programs: dict[int, int] = {}
    try:
        for number in _ids():
            try:
                programs[number] = bpf(BpfCommand.PROG_GET_FD_BY_ID, _ById(number))
            except FileNotFoundError:
                continue  # let go in between
            if not _read(programs[number])[0].startswith(_OURS):
                os.close(programs.pop(number))
        yield programs
    finally:
        for fd in programs.values():
            os.close(fd)


def _ids() -> Iterator[int]:
    attributes = _ById(0)
    while True:
        try:
            bpf(BpfCommand.PROG_GET_NEXT_ID, attributes)
        except FileNotFoundError:
            return
        yield attributes.next_id
        attributes.id = attributes.next_id


def _read(fd: int) -> tuple[str, int, int]:
    """(name, runs, nanoseconds) since it was loaded, of the times when statistics were on."""
    info = _Info()
    bpf(BpfCommand.OBJ_GET_INFO_BY_FD, _Query(fd, ctypes.sizeof(info), ctypes.addressof(info)))
    return info.name.decode(errors="replace"), info.run_cnt, info.run_time_ns
