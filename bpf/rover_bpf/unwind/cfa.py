"""Running a call frame program up to one instruction of its function (DWARF 5 section 6.4.2)."""

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from rover_bpf.unwind.cursor import Budget, CfiError, Cursor
from rover_bpf.unwind.entries import Fde

_MAX_STEPS = 1 << 13
_MAX_REMEMBERED = 32
_MAX_REGISTERS = 128
_ADVANCE, _OFFSET, _RESTORE = 1, 2, 3  # in the two high bits, with an operand in the low six
_U8, _U16, _U32 = struct.Struct("<B"), struct.Struct("<H"), struct.Struct("<I")


class How(IntEnum):
    """Where a register of the caller is (DWARF 5 section 6.4.1), its operand in brackets."""

    UNDEFINED = 0
    SAME = 1
    OFFSET = 2  # saved at CFA + operand
    VAL_OFFSET = 3  # is CFA + operand
    REGISTER = 4  # in the register operand
    EXPRESSION = 5  # saved at what the expression gives
    VAL_EXPRESSION = 6  # is what the expression gives


Place = tuple[How, int | bytes]


class Row(NamedTuple):
    """One row of the table that the information stands for.

    cfa: a register's number and an offset, or an expression. saved: registers with where they are, in ascending
    order; one that is not named still has its value. Equal rows are equal and hash alike.
    """

    cfa: tuple[int, int] | bytes
    saved: tuple[tuple[int, How, int | bytes], ...]
    ra: int
    signal: bool


def row_at(fde: Fde, vaddr: int, budget: Budget) -> Row:
    """The row in force before the instruction at `vaddr`. Raises CfiError."""
    state = _State(fde)
    state.run(fde.cie.program, 1 << 64, budget)
    state.begin()
    state.run(fde.program, vaddr, budget)
    if state.cfa is None:
        raise CfiError("no CFA")
    saved = tuple((number, how, operand) for number, (how, operand) in sorted(state.places.items()))
    return Row(state.cfa, saved, fde.cie.ra, fde.cie.signal)


class _State:
    """The row while its program runs."""

    def __init__(self, fde: Fde) -> None:
        self.location = fde.start
        self.code_align = fde.cie.code_align
        self.data_align = fde.cie.data_align
        self.cfa: tuple[int, int] | bytes | None = None
        self.places: dict[int, Place] = {}
        self._initial: dict[int, Place] = {}
        self._remembered: list[tuple[tuple[int, int] | bytes | None, dict[int, Place]]] = []

    def begin(self) -> None:
        """What the CIE's program left is what DW_CFA_restore goes back to."""
        self._initial = dict(self.places)

    def run(self, program: bytes, until: int, budget: Budget) -> None:
        """Execute while the location is at most `until`."""
        cursor = Cursor(program)
        end = max(budget.left - _MAX_STEPS, 0)
        while cursor.at < cursor.end:
            op = cursor.u8()
            kind, low = op >> 6, op & 0x3F
            if kind == _OFFSET:
                self.places[low] = (How.OFFSET, cursor.uleb() * self.data_align)
            elif kind == _RESTORE:
                self.restore(low)
            elif kind == _ADVANCE or op in _ADVANCES:
                self.location += self.code_align * (low if kind else cursor.fixed(_ADVANCES[op]))
                if self.location > until:
                    return
            elif op in _RARE:
                _RARE[op](self, cursor)
            else:
                raise CfiError(f"instruction {op:#x}")
            budget.left -= 1
            if budget.left < end or len(self.places) > _MAX_REGISTERS:
                raise CfiError("a program that takes too long")

    def restore(self, number: int) -> None:
        if number in self._initial:
            self.places[number] = self._initial[number]
        else:
            self.places.pop(number, None)

    def remember(self) -> None:
        if len(self._remembered) >= _MAX_REMEMBERED:
            raise CfiError("too many remembered states")
        self._remembered.append((self.cfa, dict(self.places)))

    def recall(self) -> None:
        if not self._remembered:
            raise CfiError("no remembered state")
        self.cfa, self.places = self._remembered.pop()

    def define(self, register: int | None, offset: int | None) -> None:
        """Set the CFA's register, offset or both; None leaves it, and then there has to be one."""
        before = self.cfa
        if register is None or offset is None:
            if not isinstance(before, tuple):
                raise CfiError("half a CFA")
            register = before[0] if register is None else register
            offset = before[1] if offset is None else offset
        self.cfa = (register, offset)

    def expression(self, block: bytes) -> None:
        self.cfa = block

    def ignore(self, _: int) -> None:
        pass

    def put(self, number: int, how: How, operand: int | bytes = 0) -> None:
        self.places[number] = (how, operand)


_ADVANCES = {0x02: _U8, 0x03: _U16, 0x04: _U32}

_RARE: dict[int, Callable[[_State, Cursor], None]] = {
    0x00: lambda s, c: None,  # nop
    0x05: lambda s, c: s.put(c.uleb(), How.OFFSET, c.uleb() * s.data_align),
    0x06: lambda s, c: s.restore(c.uleb()),
    0x07: lambda s, c: s.put(c.uleb(), How.UNDEFINED),
    0x08: lambda s, c: s.put(c.uleb(), How.SAME),
    0x09: lambda s, c: s.put(c.uleb(), How.REGISTER, c.uleb()),
    0x0A: lambda s, c: s.remember(),
    0x0B: lambda s, c: s.recall(),
    0x0C: lambda s, c: s.define(c.uleb(), c.uleb()),
    0x0D: lambda s, c: s.define(c.uleb(), None),
    0x0E: lambda s, c: s.define(None, c.uleb()),
    0x0F: lambda s, c: s.expression(c.block()),
    0x10: lambda s, c: s.put(c.uleb(), How.EXPRESSION, c.block()),
    0x11: lambda s, c: s.put(c.uleb(), How.OFFSET, c.sleb() * s.data_align),
    0x12: lambda s, c: s.define(c.uleb(), c.sleb() * s.data_align),
    0x13: lambda s, c: s.define(None, c.sleb() * s.data_align),
    0x14: lambda s, c: s.put(c.uleb(), How.VAL_OFFSET, c.uleb() * s.data_align),
    0x15: lambda s, c: s.put(c.uleb(), How.VAL_OFFSET, c.sleb() * s.data_align),
    0x16: lambda s, c: s.put(c.uleb(), How.VAL_EXPRESSION, c.block()),
    # AArch64: return addresses are signed from here on, or no longer. Machine.address_mask takes that off anyway.
    0x2D: lambda s, c: None,
    0x2E: lambda s, c: s.ignore(c.uleb()),  # GNU_args_size: for exceptions
    0x2F: lambda s, c: s.put(c.uleb(), How.OFFSET, -c.uleb() * s.data_align),
}
