"""What is kept of a row: how to get from one frame to the next, in the fewest operations."""

from enum import IntEnum
from functools import cache
from typing import NamedTuple

from rover_bpf.unwind.cfa import How, Row
from rover_bpf.unwind.cursor import Budget
from rover_bpf.unwind.expression import evaluate
from rover_bpf.unwind.machine import Machine

# Rules of this many places are held at most, at about 100 bytes each: equal rules are one object.
_MAX_RULES = 1 << 14
_WORD = 8


class Kind(IntEnum):
    """Which way a rule goes. SP and FP are the fast ones: the CFA is an offset from that register."""

    SP = 0
    FP = 1
    CHAIN = 2  # nothing is known: hope for a frame pointer
    BARE = 3  # nothing is known in a file that has tables: hand-written, most likely without a frame
    ROW = 4  # something rare: see the row
    END = 5  # the outermost frame
    BAD = 6  # the information makes no sense


class Rule(NamedTuple):
    """cfa: offset of the CFA from the register of `kind`; ra, fp: offsets from the CFA of where the return address
    and the caller's frame pointer are saved; fp is None where the frame pointer still is the caller's.
    row: all of it, None where nothing is known.
    """

    kind: Kind
    cfa: int
    ra: int
    fp: int | None
    row: Row | None = None


CHAIN = Rule(Kind.CHAIN, 2 * _WORD, -_WORD, -2 * _WORD)
"""At the frame pointer is the caller's, above it the return address (both ABIs)."""
BARE = CHAIN._replace(kind=Kind.BARE)
BAD = Rule(Kind.BAD, 0, 0, None)


@cache
def leaf(machine: Machine) -> Rule:
    """For a function without a frame."""
    if machine.pc is None:
        return CHAIN  # its return address is in a register
    return compile_row(Row((machine.sp, _WORD), ((machine.pc, How.OFFSET, -_WORD),), machine.pc, False), machine)


def compile_row(row: Row, machine: Machine, address: int = 0) -> Rule:
    """The rule for the row of the instruction at an address: the file's or the process's, which differ by pages."""
    if isinstance(row.cfa, bytes) and row.cfa == machine.plt and machine.pc is not None:
        # One in twenty of CPython's samples: ten times as fast when what depends on the address alone is known.
        known = {machine.sp: 0, machine.pc: address}
        row = row._replace(cfa=(machine.sp, evaluate(row.cfa, known.__getitem__, known.__getitem__, Budget(16))))
    places = {number: (how, operand) for number, how, operand in row.saved}
    ra, ra_at = places.get(row.ra, (How.SAME, 0))
    if ra is How.UNDEFINED:
        return Rule(Kind.END, 0, 0, None, row)
    fp, fp_at = places.get(machine.fp, (How.SAME, 0))
    usual = (
        isinstance(row.cfa, tuple)
        and row.cfa[0] in (machine.sp, machine.fp)
        and machine.sp not in places
        and ra is How.OFFSET
        and fp in (How.OFFSET, How.SAME)
        and not row.signal
    )
    if not usual:
        return Rule(Kind.ROW, 0, 0, None, row)
    assert isinstance(row.cfa, tuple)
    assert isinstance(ra_at, int)
    assert isinstance(fp_at, int)
    kind = Kind.SP if row.cfa[0] == machine.sp else Kind.FP
    return Rule(kind, row.cfa[1], ra_at, fp_at if fp is How.OFFSET else None, row)


class RuleCache:
    """Rules of places in processes' memory. When it is full it starts anew, as FrameCache does."""

    def __init__(self, size: int = _MAX_RULES) -> None:
        self._size = size
        self._processes: dict[object, dict[int, Rule]] = {}
        self._known: dict[Rule, Rule] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def of(self, process: object) -> dict[int, Rule]:
        """Rules by address, to be read only."""
        return self._processes.setdefault(process, {})

    def put(self, process: object, address: int, rule: Rule) -> Rule:
        if self._count >= self._size:
            # Emptied, not replaced: whoever is walking a stack holds one of them.
            for rules in self._processes.values():
                rules.clear()
            self._known.clear()
            self._count = 0
        rule = self._known.setdefault(rule, rule)
        self.of(process)[address] = rule
        self._count += 1
        return rule

    def discard(self, process: object) -> None:
        """Forget the rules of one process: it is gone, or its mappings have changed."""
        self._count -= len(self._processes.pop(process, ()))
