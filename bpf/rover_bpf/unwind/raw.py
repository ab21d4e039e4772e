"""Stacks as the kernel ships them: the user side of include/rover/unwind.h."""

import struct
from dataclasses import dataclass

from rover_bpf.unwind.machine import X86_64
from rover_bpf.unwind.walk import UserState

# struct rover_key (it has no padding), rover_value, rover_user_regs.
HEAD = struct.Struct("<QQQII16s QQ 17Q")


@dataclass(frozen=True, slots=True)
class RawStack:
    """One event: whose (as in stackcount.KEY), what it counts for, and the thread's state.

    start_ns: of the process, since boot; kernel: hash of the kernel stack, 0 if there is none; comm: up to its NULs;
    total: nanoseconds, where events have a length. stack: memory from state.sp upwards, as far as it was there.
    """

    start_ns: int
    kernel: int
    tgid: int
    tag: int
    comm: bytes
    events: int
    total: int
    state: UserState
    stack: bytes


def read_raw(record: memoryview) -> RawStack:
    """One record of the ring rover_raw. Copies what it needs: the record is gone after the next one is asked for."""
    start_ns, _, kernel, tgid, tag, comm, events, total, *registers, ip = HEAD.unpack_from(record)
    state = UserState(ip, registers[X86_64.sp], registers[X86_64.fp], dict(enumerate(registers)))
    stack = bytes(record[HEAD.size :])
    return RawStack(start_ns, kernel, tgid, tag, comm.rstrip(b"\0"), events, total, state, stack)
