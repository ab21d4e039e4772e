"""Stacks as the kernel ships them: the user side of include/rover/unwind.h."""

import struct
from dataclasses import dataclass

from rover_bpf.unwind.machine import X86_64
from rover_bpf.unwind.walk import UserState

# struct rover_raw up to its stack: id, start_ns, tgid, unused, struct rover_user_regs.
HEAD = struct.Struct("<QQII 17Q")


@dataclass(frozen=True, slots=True)
class RawStack:
    """A shipped stack. id: stands in the keys of the events that have it; start_ns: of the process, since boot.

    stack: memory from state.sp upwards, as far as it was there.
    """

    id: int
    start_ns: int
    tgid: int
    state: UserState
    stack: bytes


def read_raw(record: memoryview) -> RawStack:
    """One record of the ring rover_raw. Copies what it needs: the record is gone after the next one is asked for."""
    key, start_ns, tgid, _, *registers, ip = HEAD.unpack_from(record)
    state = UserState(ip, registers[X86_64.sp], registers[X86_64.fp], dict(enumerate(registers)))
    return RawStack(key, start_ns, tgid, state, bytes(record[HEAD.size :]))
