"""Stacks of threads that are not running, taken from outside: saved registers, and memory through /proc."""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

from rover_bpf.maps import Array
from rover_bpf.unwind.walk import MAX_FRAMES, UserState
from rover_core.model import ProcessKey
from rover_core.procfs import proc_root

_FRAME = struct.Struct("<QQ")  # the caller's frame pointer, the return address
_USER_ADDRESSES = 1 << 47

Read = Callable[[int, int], bytes]
"""Memory of a process: address, size -> as many of these bytes as are there."""


@dataclass(frozen=True, slots=True)
class LateStack:
    """Where a thread waits. user, kernel: what stands for its stacks in keys; state: None if it has no user stack;
    addresses: of the kernel stack, leaf first.
    """

    process: ProcessKey
    user: int
    state: UserState | None
    kernel: int
    addresses: Array


def read_memory(pid: int, address: int, size: int) -> bytes:
    """Memory of a live process, as much of it as is there; empty if there is none or we may not (ptrace(2))."""
    try:
        with (proc_root() / str(pid) / "mem").open("rb", buffering=0) as memory:
            return os.pread(memory.fileno(), size, address)
    except OSError:
        return b""


def follow_frame_pointers(state: UserState, read: Read) -> list[int]:
    """Addresses, leaf first, as the kernel finds them (perf_callchain_user of arch/x86/events/core.c)."""
    addresses, frame = [state.ip], state.fp
    while len(addresses) < MAX_FRAMES and 0 < frame < _USER_ADDRESSES:
        memory = read(frame, _FRAME.size)
        if len(memory) < _FRAME.size:
            break
        frame, address = _FRAME.unpack(memory)
        addresses.append(address)
    return addresses
