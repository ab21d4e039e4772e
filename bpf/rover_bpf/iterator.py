"""Reading what an iterator says: an eBPF program that the kernel runs once for each task (kernel 5.8)."""

import ctypes
import os
from collections.abc import Iterator

from rover_bpf.syscalls import BpfCommand, bpf

_TRACE_ITER = 28  # enum bpf_attach_type: BPF_TRACE_ITER
_READ_BYTES = 1 << 16  # the kernel writes whole records, and at most 32 KB at a time (kernel/bpf/bpf_iter.c)


class _Link(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("prog_fd", "target_fd", "attach_type", "flags"))


class _Iterator(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("link_fd", "flags"))


def iterate(function: int, size: int) -> Iterator[memoryview]:
    """Records of this size in bytes that a loaded iterator writes. Raises OSError.

    It sees the tasks of our own name space of processes.
    """
    link = bpf(BpfCommand.LINK_CREATE, _Link(function, 0, _TRACE_ITER, 0))
    try:
        reader = bpf(BpfCommand.ITER_CREATE, _Iterator(link, 0))
    finally:
        os.close(link)
    try:
        while chunk := os.read(reader, _READ_BYTES):
            for start in range(0, len(chunk), size):
                yield memoryview(chunk)[start : start + size]
    finally:
        os.close(reader)
