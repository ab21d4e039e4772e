"""From frame to frame along one copied stack."""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rover_bpf.unwind.cfa import How, Row
from rover_bpf.unwind.cursor import Budget, CfiError
from rover_bpf.unwind.expression import evaluate
from rover_bpf.unwind.machine import Machine
from rover_bpf.unwind.rules import CHAIN, Kind, Rule, leaf

MAX_FRAMES = 127
_WORD = struct.Struct("<Q")
_SP, _FP, _CHAIN, _BARE = Kind.SP, Kind.FP, Kind.CHAIN, Kind.BARE

Find = Callable[[int], Rule | None]
"""The rule for the instruction at an address of the process; None if no code is mapped there."""


class Stop(StrEnum):
    """Why a stack ends where it does."""

    OUTERMOST = "outermost frame"
    STACK_CUT = "beyond the copied part of the stack"
    TOO_DEEP = "too many frames"
    BAD_ADDRESS = "no code at the return address"
    BAD_TABLE = "call frame information that makes no sense"
    NO_PROGRESS = "the stack pointer goes back"
    NOT_OBSERVED = "the process was not seen alive"


@dataclass(frozen=True, slots=True)
class UserState:
    """Where a thread was. others: registers by their DWARF numbers: the callee-saved at least, better all.

    In a few functions (glibc's longjmp) only scratch registers say where the caller is.
    """

    ip: int
    sp: int
    fp: int
    others: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unwound:
    """addresses: leaf first: the instruction itself, then return addresses; stop: why there are no more."""

    addresses: tuple[int, ...]
    stop: Stop

    @property
    def whole(self) -> bool:
        """Whether it reaches the outermost frame: _start, the beginning of a thread."""
        return self.stop is Stop.OUTERMOST


class CutError(CfiError):
    """What is wanted is not in the copied part of the stack."""


@dataclass(slots=True)
class Walk:
    """A stack and what is needed to walk it.

    stack: what memory holds from state.sp upwards. rules: those found before, by address; find: for the others.
    """

    machine: Machine
    rules: Mapping[int, Rule]
    find: Find
    state: UserState
    stack: bytes | memoryview
    limit: int
    budget: Budget

    def run(self) -> Unwound:
        """Never raises."""
        addresses, stop = self._fast()
        if stop is None:
            # Something rare: once more from the start, with all registers. Rare enough to make the usual way fast.
            addresses, stop = _Careful(self).run()
        return Unwound(tuple(addresses), stop)

    def _fast(self) -> tuple[list[int], Stop | None]:
        """With stack and frame pointer alone, which nearly all rules need; no reason if one needs more."""
        state, rules, find, stack, limit = self.state, self.rules, self.find, self.stack, self.limit
        mask, load = self.machine.address_mask, _WORD.unpack_from
        base = sp = state.sp
        fp, place = state.fp, state.ip
        room = len(stack) - _WORD.size
        addresses = [state.ip]
        while rule := rules.get(place) or find(place):
            kind, cfa, ra, saved, _ = rule
            if kind is _SP:
                cfa += sp
            elif kind is _FP or (kind is _CHAIN and fp):
                cfa += fp
            elif kind is _BARE:
                kind, cfa, ra, saved, _ = self.bare(sp if len(addresses) == 1 else None)
                cfa += sp if kind is _SP else fp
            else:
                return addresses, _ending(kind, len(addresses))
            at = cfa - base
            if not 0 <= at + ra <= room:
                return addresses, Stop.STACK_CUT
            if cfa <= sp:
                return addresses, Stop.NO_PROGRESS
            ip = load(stack, at + ra)[0] & mask
            # A slot below the stack pointer was popped: GCC's epilogues leave that unsaid, the register has it again.
            if saved is not None and at + saved >= 0:
                if at + saved > room:
                    return addresses, Stop.STACK_CUT
                fp = load(stack, at + saved)[0]
            if not ip:
                return addresses, Stop.OUTERMOST
            if len(addresses) >= limit:
                return addresses, Stop.TOO_DEEP
            addresses.append(ip)
            # The call, not what comes after it: that may be another function already (DWARF 5 section 6.4.4).
            sp, place = cfa, ip - 1
        return _without_last(addresses), Stop.BAD_ADDRESS

    def bare(self, sp: int | None) -> Rule:
        """The rule for what no table covers in a file that has them.

        sp: of a frame that was interrupted; None if it called another, so it has a frame. The return address may then
        be on top of the stack: so it is in glibc's clone3 behind the system call. It is believed if it lies in a
        function that the tables know.
        """
        at = -1 if sp is None else sp - self.state.sp
        if not 0 <= at <= len(self.stack) - _WORD.size:
            return CHAIN
        place = (_WORD.unpack_from(self.stack, at)[0] & self.machine.address_mask) - 1
        rule = self.rules.get(place) or self.find(place)
        return leaf(self.machine) if rule and rule.row else CHAIN


def _ending(kind: Kind, frames: int) -> Stop | None:
    if kind is Kind.CHAIN:
        # Whoever starts a thread clears the frame pointer (both ABIs). In a leaf it may be 0 by chance.
        return Stop.OUTERMOST if frames > 1 else Stop.NO_PROGRESS
    return {Kind.END: Stop.OUTERMOST, Kind.BAD: Stop.BAD_TABLE}.get(kind)


def _without_last(addresses: list[int]) -> list[int]:
    """The last is no return address after all; the first is where the thread was, whatever is there."""
    return addresses[:-1] if len(addresses) > 1 else addresses


class _Careful:
    """The same with all registers and all kinds of rows: signal frames, realigned stacks, expressions."""

    def __init__(self, walk: Walk) -> None:
        state, machine = walk.state, walk.machine
        self._walk = walk
        self._machine = machine
        self._registers = {**state.others, machine.sp: state.sp, machine.fp: state.fp}
        if machine.pc is not None:
            self._registers[machine.pc] = state.ip
        # Whether the frame was interrupted, rather than left by a call.
        self._interrupted = True

    def run(self) -> tuple[list[int], Stop]:
        walk = self._walk
        addresses = [walk.state.ip]
        while rule := self._rule(addresses[-1]):
            if rule.kind in (Kind.END, Kind.BAD) or (rule.kind is Kind.CHAIN and not self._fp):
                return addresses, _ending(rule.kind, len(addresses)) or Stop.BAD_TABLE
            # A frame that was interrupted may have nothing on the stack: in longjmp, and in AArch64's leaves.
            above = self._registers[self._machine.sp] + (not self._interrupted)
            try:
                ip = self._step(rule.row) if rule.row else self._chain(rule)
            except CutError:
                return addresses, Stop.STACK_CUT
            except CfiError:
                return addresses, Stop.BAD_TABLE
            if not ip:
                return addresses, Stop.OUTERMOST
            # A signal handler may have had a stack of its own, above or below.
            if not self._interrupted and self._registers[self._machine.sp] < above:
                return addresses, Stop.NO_PROGRESS
            if len(addresses) >= walk.limit:
                return addresses, Stop.TOO_DEEP
            addresses.append(ip)
        return _without_last(addresses), Stop.BAD_ADDRESS

    @property
    def _fp(self) -> int:
        return self._registers.get(self._machine.fp, 0)

    def _rule(self, address: int) -> Rule | None:
        place = address if self._interrupted else address - 1
        rule = self._walk.rules.get(place) or self._walk.find(place)
        if rule and rule.kind is Kind.BARE:
            return self._walk.bare(self._registers[self._machine.sp] if self._interrupted else None)
        return rule

    def _chain(self, rule: Rule) -> int:
        cfa = self._fp + rule.cfa
        ip = self._load(cfa + rule.ra) & self._machine.address_mask
        self._registers |= {self._machine.sp: cfa, self._machine.fp: self._load(cfa + (rule.fp or 0))}
        if self._machine.pc is not None:
            self._registers[self._machine.pc] = ip
        self._interrupted = False
        return ip

    def _step(self, row: Row) -> int:
        """Make the registers those of the caller; returns the address in it."""
        before, interrupted = self._registers, self._interrupted
        cfa = self._cfa(row)
        after = {**before, self._machine.sp: cfa}
        for number, how, operand in row.saved:
            try:
                value = self._value(cfa, number, how, operand)
            except CutError:
                if number == row.ra:
                    raise
                value = None
            if value is None:
                after.pop(number, None)
            else:
                after[number] = value
        # The link register of a leaf may still be what it was at the call; that of its caller may not.
        saved = any(number == row.ra for number, *_ in row.saved)
        if row.ra not in after or not (saved or (interrupted and row.ra != self._machine.pc)):
            raise CfiError("no return address")
        if self._machine.sp not in after:
            raise CfiError("no stack pointer")
        self._registers, self._interrupted = after, row.signal
        return after[row.ra] & self._machine.address_mask

    def _cfa(self, row: Row) -> int:
        if isinstance(row.cfa, tuple):
            return self._register(row.cfa[0]) + row.cfa[1]
        return evaluate(row.cfa, self._register, self._load, self._walk.budget)

    def _value(self, cfa: int, number: int, how: How, operand: int | bytes) -> int | None:
        """The caller's register; None if it is lost."""
        if how is How.UNDEFINED:
            return None
        if how is How.SAME:
            return self._registers.get(number)
        if isinstance(operand, bytes):
            value = evaluate(operand, self._register, self._load, self._walk.budget, cfa)
            return value if how is How.VAL_EXPRESSION else self._load(value)
        if how is How.REGISTER:
            return self._registers.get(operand)
        if how is How.VAL_OFFSET:
            return cfa + operand
        # As above: below what was copied, it was popped.
        return self._load(cfa + operand) if cfa + operand >= self._walk.state.sp else self._registers.get(number)

    def _register(self, number: int) -> int:
        if number not in self._registers:
            raise CfiError(f"register {number} is not known")
        return self._registers[number]

    def _load(self, address: int) -> int:
        at = address - self._walk.state.sp
        if not 0 <= at <= len(self._walk.stack) - _WORD.size:
            raise CutError("beyond the copied part of the stack")
        value: int = _WORD.unpack_from(self._walk.stack, at)[0]
        return value
