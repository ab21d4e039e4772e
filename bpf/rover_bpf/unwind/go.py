"""Where Go's functions have their callers: how far each has moved the stack pointer, instruction by instruction.

Go's linker writes that into .gopclntab (the table `pcsp` of src/runtime/symtab.go), by which its runtime prints
tracebacks. Frame pointers do not show who called a function that has no frame, or that has none yet.
"""

from dataclasses import dataclass

import numpy as np

from rover_bpf.symbols.elf import Elf
from rover_bpf.symbols.files import Read
from rover_bpf.symbols.gofile import find_go
from rover_bpf.symbols.gopclntab import GoError, Layout, read_entries
from rover_bpf.unwind.cfa import How, Row
from rover_bpf.unwind.cursor import Budget, CfiError, Cursor
from rover_bpf.unwind.index import Index
from rover_bpf.unwind.machine import Machine

_WORD = 8
_STEPS_AT = 12  # in a record, behind the offset of its name
_MAX_STEPS = 1 << 12  # bytes of one function
_TOP_FRAME, _SP_WRITE = 1, 2  # abi.FuncFlag: nobody called it; it changes stacks


@dataclass(frozen=True, slots=True, eq=False)
class GoTable:
    """Of one program. functions: their starts, and offsets of their records; end: of the last."""

    read: Read
    layout: Layout
    functions: Index
    end: int
    sp: int
    fp: int
    pc: int

    @property
    def nbytes(self) -> int:
        return self.functions.nbytes

    def row(self, vaddr: int, budget: Budget) -> Row | None:
        """The row for the instruction at this address of the file; None if it is not Go's. Raises CfiError."""
        found = self.functions.find(vaddr) if vaddr < self.end else None
        if found is None:
            return None
        at = self.layout.records + found - self.functions.base
        record = Cursor(self.read(at, self.layout.flag_at + 1))
        if record.end <= self.layout.flag_at:
            raise CfiError("the table of Go's functions is cut off")
        flags = record.data[self.layout.flag_at]
        if flags & _TOP_FRAME:
            return Row((self.sp, _WORD), ((self.pc, How.UNDEFINED, 0),), self.pc, False)
        if flags & _SP_WRITE:
            return self._row(self.fp, 2 * _WORD)
        start = self.functions.base + int.from_bytes(record.data[:4], "little")
        first = self.layout.name_at + _STEPS_AT
        steps = int.from_bytes(record.data[first : first + 4], "little")
        moved = _moved(Cursor(self.read(self.layout.steps + steps, _MAX_STEPS)), vaddr - start, budget)
        return self._row(self.sp, moved + _WORD)

    def _row(self, register: int, offset: int) -> Row:
        """A function that moved the stack pointer has saved the frame pointer first (cmd/internal/obj/x86)."""
        saved = ((self.fp, How.OFFSET, -2 * _WORD),) if offset > _WORD else ()
        return Row((register, offset), (*saved, (self.pc, How.OFFSET, -_WORD)), self.pc, False)


def _moved(steps: Cursor, into: int, budget: Budget) -> int:
    """How far the stack pointer is from where it was on entry, so many bytes into the function (runtime.step)."""
    value, end = -1, 0
    while end <= into:
        change = steps.uleb()
        if not change and end:
            raise CfiError("an instruction that Go's table does not know")
        value += -(change >> 1) - 1 if change & 1 else change >> 1
        end += steps.uleb()
        budget.left -= 1
        if budget.left < 0:
            raise CfiError("a program that takes too long")
    if value < 0 or value % _WORD:
        raise CfiError("a stack pointer that went back")
    return value


def read_go(read: Read, elf: Elf, machine: Machine, limit: int) -> GoTable | None:
    """The table of a Go program that was built since 1.18, at most `limit` bytes of it; None if it is none."""
    found = find_go(read, elf)
    if found is None or machine.pc is None:
        return None
    table, layout, text = found
    if not layout.steps or layout.count * 2 * layout.pair.itemsize > limit:
        return None
    try:
        code, records = read_entries(table, layout, text)
    except GoError:
        return None
    if int(code[-1]) - text >= 1 << 31 or int(records.max()) >= 1 << 31:
        return None
    starts, places = ((code[:-1] - np.uint64(text)).astype(np.int32), records.astype(np.int32))
    index = Index(text, 0, starts, places)
    return GoTable(table, layout, index, int(code[-1]), machine.sp, machine.fp, machine.pc)
