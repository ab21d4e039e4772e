"""Stacks as the kernel ships them: the user side of include/rover/ship.h."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rover_bpf.unwind.machine import X86_64
from rover_bpf.unwind.walk import UserState

# struct rover_raw up to its stack: id, struct rover_code, unknown, tgid, unused, struct pt_regs.
HEAD = struct.Struct("<Q 3Q Q II 21Q")
# struct pt_regs (arch/x86/include/uapi/asm/ptrace.h) by DWARF numbers: r15 to r12, bp, bx, r11 to r8, ax, cx, dx, si,
# di. Then come orig_ax, ip, cs, flags, sp, ss.
_NUMBERS = (15, 14, 13, 12, 6, 3, 11, 10, 9, 8, 0, 2, 1, 4, 5)
_IP, _SP = 16, 19


class Code(NamedTuple):
    """What rules hold for: a process's code as long as it is the same (struct rover_code).

    start_ns: of the process, since boot; mm: where the kernel keeps its memory map; exec_vm: pages of code.
    """

    start_ns: int
    mm: int
    exec_vm: int


@dataclass(frozen=True, slots=True)
class RawStack:
    """A shipped stack. id: stands in the keys of the events that have it.

    unknown: the address that the kernel had no rule for, 0 if that is not why it was shipped.
    stack: memory from state.sp upwards, as far as it was there.
    """

    id: int
    tgid: int
    code: Code
    unknown: int
    state: UserState
    stack: bytes


def read_raw(record: memoryview) -> RawStack:
    """One record of the ring rover_raw. Copies what it needs: the record is gone after the next one is asked for."""
    key, start_ns, mm, exec_vm, unknown, tgid, _, *registers = HEAD.unpack_from(record)
    stack = bytes(record[HEAD.size :])
    return RawStack(key, tgid, Code(start_ns, mm, exec_vm), unknown, state_of(registers), stack)


def state_of(registers: Sequence[int]) -> UserState:
    """Of the 21 registers of struct pt_regs."""
    others = {**dict(zip(_NUMBERS, registers, strict=False)), X86_64.sp: registers[_SP]}
    return UserState(registers[_IP], registers[_SP], others[X86_64.fp], others)
