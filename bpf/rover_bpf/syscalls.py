"""bpf(2), perf_event_open(2) and membarrier(2): system calls that Python's standard library lacks.

Through libc's syscall(3) and ctypes, so that neither libbpf nor libbcc has to live in the agent.
"""

import ctypes
import os
import platform
from enum import IntEnum

_NUMBERS = {  # (perf_event_open, bpf, membarrier): arch/x86/entry/syscalls/syscall_64.tbl, asm-generic/unistd.h
    "x86_64": (298, 321, 324),
    "aarch64": (241, 280, 283),
}
_MEMBARRIER_CMD_GLOBAL = 1

_libc = ctypes.CDLL(None, use_errno=True)


class BpfCommand(IntEnum):
    """enum bpf_cmd of include/uapi/linux/bpf.h, as far as it is used here."""

    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    PROG_GET_NEXT_ID = 11
    PROG_GET_FD_BY_ID = 13
    OBJ_GET_INFO_BY_FD = 15
    RAW_TRACEPOINT_OPEN = 17
    MAP_LOOKUP_BATCH = 24
    MAP_LOOKUP_AND_DELETE_BATCH = 25
    MAP_UPDATE_BATCH = 26
    LINK_CREATE = 28
    ENABLE_STATS = 32
    ITER_CREATE = 33


def _number(index: int) -> int:
    machine = platform.machine()
    try:
        return _NUMBERS[machine][index]
    except KeyError:
        raise OSError(f"Rover does not know the system call numbers of {machine}") from None


def _syscall(index: int, *arguments: object) -> int:
    result = _libc.syscall(ctypes.c_long(_number(index)), *arguments)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return int(result)


def bpf(command: BpfCommand, attributes: ctypes.Structure) -> int:
    """bpf(2) with one of the layouts of `union bpf_attr`. Raises OSError with the kernel's errno."""
    return _syscall(1, ctypes.c_int(command), ctypes.byref(attributes), ctypes.c_uint(ctypes.sizeof(attributes)))


def perf_event_open(attributes: ctypes.Structure, *, pid: int, cpu: int) -> int:
    """perf_event_open(2) without a group, close-on-exec. Returns the file descriptor; raises OSError."""
    flags = 8  # PERF_FLAG_FD_CLOEXEC
    return _syscall(
        0, ctypes.byref(attributes), ctypes.c_int(pid), ctypes.c_int(cpu), ctypes.c_int(-1), ctypes.c_ulong(flags)
    )


def wait_for_running_programs() -> None:
    """Returns when every eBPF program that was running at the call has ended.

    MEMBARRIER_CMD_GLOBAL is synchronize_rcu() (kernel/sched/membarrier.c), and tracing programs run inside RCU
    read-side sections. Raises OSError (EINVAL) on kernels booted with nohz_full.
    """
    _syscall(2, ctypes.c_int(_MEMBARRIER_CMD_GLOBAL), ctypes.c_uint(0), ctypes.c_int(0))
