"""What differs between processors: their DWARF register numbers and what a call leaves where.

x86-64: System V ABI, figure 3.36. AArch64: "DWARF for the Arm 64-bit Architecture", section 4.1.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Machine:
    """One processor architecture.

    sp, fp: DWARF numbers of stack and frame pointer; pc: of the instruction pointer, if it has one. address_mask:
    bits of an address in code (AArch64 signs return addresses in the others). plt: the CFA in an entry of the
    procedure linkage table, as an expression; None where nothing is known of it.
    """

    name: str
    sp: int
    fp: int
    pc: int | None
    address_mask: int
    plt: bytes | None = None


# rsp + 8, and 8 more from the 11th of an entry's 16 bytes on, behind its push. GNU ld writes the same into .eh_frame,
# but not for static programs; other linkers write nothing. breg7 8, breg16 0, lit15, and, lit11, ge, lit3, shl, plus.
_X86_64_PLT = bytes.fromhex("7708 8000 3f1a 3b2a 3324 22")

X86_64 = Machine("x86-64", 7, 6, 16, (1 << 64) - 1, _X86_64_PLT)
AARCH64 = Machine("AArch64", 31, 29, None, (1 << 48) - 1)

MACHINES = {62: X86_64, 183: AARCH64}
"""By e_machine (EM_X86_64, EM_AARCH64)."""
