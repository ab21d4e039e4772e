"""Whole user stacks without frame pointers, out of registers and a copy of the top of the stack.

The compiler writes down, for each instruction, where the caller's registers are: the call frame information in
`.eh_frame` (DWARF 5 section 6.4, with the differences of the Linux Standard Base, Core, 10.6). `Unwinder` is the way
in. From the bytes upwards: cursor, expression, cie (its entries), cfa (its programs), index (finding an entry),
go (what Go has instead), table (one file), rules (what is kept of it), walk (one stack), unwinder (processes).
"""

from rover_bpf.unwind.unwinder import Unwinder, UnwinderStats
from rover_bpf.unwind.walk import Stop, Unwound, UserState

__all__ = ["Stop", "Unwinder", "UnwinderStats", "Unwound", "UserState"]
