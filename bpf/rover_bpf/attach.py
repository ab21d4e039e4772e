"""Attaching programs to events by file descriptor. Closing the descriptors detaches.

Nothing here survives the process: perf events and raw tracepoints die with their last descriptor, so an agent that
is killed leaves nothing behind in the kernel.
"""

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

from rover_bpf.cpus import online_cpus
from rover_bpf.syscalls import BpfCommand, bpf, perf_event_open
from rover_bpf.tracefs import tracepoint_id
from rover_core.errors import RoverError

_TYPE_SOFTWARE, _TYPE_TRACEPOINT = 1, 2  # enum perf_type_id
_COUNT_SW_CPU_CLOCK = 0  # enum perf_sw_ids
_TRACE_UPROBE_MULTI = 48  # enum bpf_attach_type of include/uapi/linux/bpf.h
_IOC_ENABLE, _IOC_SET_BPF = 0x2400, 0x40042408  # include/uapi/linux/perf_event.h


class _PerfAttributes(ctypes.Structure):
    """struct perf_event_attr up to PERF_ATTR_SIZE_VER1; for probes config1 is a name's address, config2 an offset."""

    _fields_ = (
        ("type", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("config", ctypes.c_uint64),
        ("sample_period", ctypes.c_uint64),
        ("sample_type", ctypes.c_uint64),
        ("read_format", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
        ("wakeup_events", ctypes.c_uint32),
        ("bp_type", ctypes.c_uint32),
        ("config1", ctypes.c_uint64),
        ("config2", ctypes.c_uint64),
    )


class _RawTracepoint(ctypes.Structure):
    _fields_ = (("name", ctypes.c_uint64), ("prog_fd", ctypes.c_uint32), ("padding", ctypes.c_uint32))


class Probe(Protocol):
    """A place in the kernel or in a program where an eBPF function can be attached."""

    @property
    def label(self) -> str:
        """What a person reads: `raw tracepoint sched_switch`."""
        ...

    def attach(self, function: int) -> list[int]:
        """Attach a loaded function; descriptors that keep it attached. Raises OSError or RoverError."""
        ...


@dataclass(frozen=True, slots=True)
class CpuClock:
    """A tick on every online processor each period_ns of its time (PERF_COUNT_SW_CPU_CLOCK), idle ones included.

    The kernel's shortest period is 10 us (perf_swevent_start_hrtimer).
    """

    period_ns: int

    @property
    def label(self) -> str:
        return "perf event cpu-clock"

    def attach(self, function: int) -> list[int]:
        attributes = _PerfAttributes(
            type=_TYPE_SOFTWARE, config=_COUNT_SW_CPU_CLOCK, sample_period=self.period_ns, wakeup_events=1
        )
        return _attach_all(attributes, [(-1, cpu) for cpu in online_cpus()], function)


@dataclass(frozen=True, slots=True)
class RawTracepoint:
    """A tracepoint with the kernel's own arguments, without tracefs."""

    name: str

    @property
    def label(self) -> str:
        return f"raw tracepoint {self.name}"

    def attach(self, function: int) -> list[int]:
        name = ctypes.create_string_buffer(self.name.encode())
        return [bpf(BpfCommand.RAW_TRACEPOINT_OPEN, _RawTracepoint(ctypes.addressof(name), function, 0))]


@dataclass(frozen=True, slots=True)
class Tracepoint:
    """A tracepoint with the stable layout that tracefs describes."""

    category: str
    name: str

    @property
    def label(self) -> str:
        return f"tracepoint {self.category}:{self.name}"

    def attach(self, function: int) -> list[int]:
        attributes = _PerfAttributes(
            type=_TYPE_TRACEPOINT, config=tracepoint_id(self.category, self.name), sample_period=1, wakeup_events=1
        )
        return _attach_all(attributes, [(-1, 0)], function)


@dataclass(frozen=True, slots=True)
class Kprobe:
    """Entry (or return) of a kernel function."""

    symbol: str
    on_return: bool = False

    @property
    def label(self) -> str:
        return f"{'kretprobe' if self.on_return else 'kprobe'} {self.symbol}"

    def attach(self, function: int) -> list[int]:
        return _attach_probe("kprobe", self.symbol.encode(), 0, self.on_return, -1, function)


@dataclass(frozen=True, slots=True)
class Uprobe:
    """An instruction of a program or library, by its offset in the file; pid -1 is every process that maps it."""

    path: Path
    offset: int
    on_return: bool = False
    pid: int = -1

    @property
    def label(self) -> str:
        return f"{'uretprobe' if self.on_return else 'uprobe'} {self.path}+{self.offset:#x}"

    def attach(self, function: int) -> list[int]:
        return _attach_probe("uprobe", os.fsencode(self.path), self.offset, self.on_return, self.pid, function)


class _UprobeLink(ctypes.Structure):
    """The layout of `union bpf_attr` for BPF_LINK_CREATE of several uprobes."""

    _fields_ = (
        ("prog_fd", ctypes.c_uint32),
        ("target_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("path", ctypes.c_uint64),
        ("offsets", ctypes.c_uint64),
        ("ref_ctr_offsets", ctypes.c_uint64),
        ("cookies", ctypes.c_uint64),
        ("count", ctypes.c_uint32),
        ("uprobe_flags", ctypes.c_uint32),
        ("pid", ctypes.c_uint32),
        ("padding", ctypes.c_uint32),
    )


@dataclass(frozen=True, slots=True)
class Uprobes:
    """Several instructions of one file, for every process that maps it. For functions of the type `UPROBE`.

    One link since 6.6 (89ae89f53d20): to detach a uprobe takes a tenth of a second. Before, a perf event for each.
    """

    path: Path
    offsets: tuple[int, ...]
    on_return: bool = False

    @property
    def label(self) -> str:
        places = ", ".join(f"{offset:#x}" for offset in self.offsets)
        return f"{'uretprobe' if self.on_return else 'uprobe'} {self.path}+{places}"

    def attach(self, function: int) -> list[int]:
        try:
            return [self._link(function)]
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        descriptors: list[int] = []
        try:
            for offset in self.offsets:
                descriptors += Uprobe(self.path, offset, self.on_return).attach(function)
        except BaseException:
            for fd in descriptors:
                os.close(fd)
            raise
        return descriptors

    def _link(self, function: int) -> int:
        path = ctypes.create_string_buffer(os.fsencode(self.path))
        offsets = (ctypes.c_uint64 * len(self.offsets))(*self.offsets)
        attributes = _UprobeLink(
            prog_fd=function,
            attach_type=_TRACE_UPROBE_MULTI,
            path=ctypes.addressof(path),
            offsets=ctypes.addressof(offsets),
            count=len(self.offsets),
            uprobe_flags=int(self.on_return),  # BPF_F_UPROBE_MULTI_RETURN
        )
        return bpf(BpfCommand.LINK_CREATE, attributes)


def _attach_probe(kind: str, name: bytes, offset: int, on_return: bool, pid: int, function: int) -> list[int]:
    pmu, return_bit = _probe_pmu(kind)
    text = ctypes.create_string_buffer(name)
    attributes = _PerfAttributes(
        type=pmu,
        config=(1 << return_bit) if on_return else 0,
        config1=ctypes.addressof(text),
        config2=offset,
        sample_period=1,
        wakeup_events=1,
    )
    return _attach_all(attributes, [(pid, -1 if pid >= 0 else 0)], function)


@cache
def _probe_pmu(kind: str) -> tuple[int, int]:
    """Type number of the kernel's kprobe or uprobe PMU and the config bit that means "on return"."""
    folder = Path("/sys/bus/event_source/devices", kind)
    try:
        number = int((folder / "type").read_text())
        return number, int((folder / "format/retprobe").read_text().rpartition(":")[2])
    except OSError as error:
        raise RoverError(f"this kernel has no {kind}s", why=f"{folder} is missing", remedy="") from error


def _attach_all(attributes: _PerfAttributes, places: Iterable[tuple[int, int]], function: int) -> list[int]:
    attributes.size = ctypes.sizeof(attributes)
    descriptors: list[int] = []
    try:
        for pid, cpu in places:
            descriptors.append(perf_event_open(attributes, pid=pid, cpu=cpu))
            fcntl.ioctl(descriptors[-1], _IOC_SET_BPF, function)
            fcntl.ioctl(descriptors[-1], _IOC_ENABLE, 0)
    except BaseException:
        for fd in descriptors:
            os.close(fd)
        raise
    return descriptors
