"""Frame pointers of a thread that is not running, followed through its memory."""

import struct

from rover_bpf.latestack import follow_frame_pointers, read_memory
from rover_bpf.unwind import UserState
from rover_bpf.unwind.raw import state_of
from rover_bpf.unwind.walk import MAX_FRAMES

PT_REGS = (
    *("r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di"),
    *("orig_ax", "ip", "cs", "flags", "sp", "ss"),
)
STATE = UserState(ip=0x401000, sp=0x7000, fp=0x7010)


def test_callers_are_found_until_there_is_no_frame() -> None:
    """Broken: a waiting thread's callers are lost, or what lies above its outermost frame is taken for one."""
    memory = {0x7010: (0x7020, 0x401100), 0x7020: (0, 0x401200)}
    assert follow_frame_pointers(STATE, lambda at, _: struct.pack("<QQ", *memory[at])) == [
        0x401000,
        0x401100,
        0x401200,
    ]


def test_a_frame_that_is_not_there_ends_the_stack() -> None:
    """Broken: a program that uses the register for something else ends the profile with an error."""
    assert follow_frame_pointers(STATE, lambda *_: b"") == [0x401000]
    assert read_memory(1 << 30, 0x7000, 16) == b""
    assert read_memory(1, (1 << 64) - 8, 16) == b""


def test_a_frame_that_points_to_itself_costs_bounded_time() -> None:
    """Broken: a hostile program stops the agent by a loop in its stack."""
    assert len(follow_frame_pointers(STATE, lambda at, _: struct.pack("<QQ", at, 1))) == MAX_FRAMES


def test_registers_are_in_the_order_of_their_dwarf_numbers() -> None:
    """Broken: unwinding starts from the wrong registers: struct pt_regs begins with r15 and ends with ss."""
    registers = {name: number for number, name in enumerate(PT_REGS, 100)}
    state = state_of(list(registers.values()))
    assert (state.ip, state.sp, state.fp) == (registers["ip"], registers["sp"], registers["bp"])
    dwarf = ["ax", "dx", "cx", "bx", "si", "di", "bp", "sp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"]
    assert state.others == {number: registers[name] for number, name in enumerate(dwarf)}
