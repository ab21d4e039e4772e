"""Stacks that the kernel could not walk: unwound here, and the kernel is told how, so that it can the next time."""

from array import array

from rover_bpf.stackbook import StackBook
from rover_bpf.stackcount import StackCounter
from rover_bpf.stackkind import process_key
from rover_bpf.unwind import Stop, Unwinder
from rover_bpf.unwind.kernelrules import KernelRules
from rover_bpf.unwind.raw import Code, RawStack
from rover_bpf.unwinding import Unwind
from rover_core.model import Loss, ProcessKey

_FLAWS = {
    Stop.OUTERMOST: None,
    Stop.STACK_CUT: Loss.TRUNCATED_STACK,
    Stop.TOO_DEEP: Loss.TRUNCATED_STACK,
    Stop.NOT_OBSERVED: Loss.PROCESS_GONE,
}
"""What became of a stack that ended so; every other end is a broken one."""
# Stacks after which the kernel is told what was learned: early in a long queue, since it is shipping more meanwhile.
_LESSON = 64


class ShippedStacks:
    """Those of one counter. Nothing where the counter ships none."""

    def __init__(self, counter: StackCounter, book: StackBook, unwind: Unwind) -> None:
        self._counter = counter
        self._book = book
        self._auto = unwind == "auto"
        self._unwinder = Unwinder()
        self._spaces: dict[ProcessKey, int] = {}

    def meet(self, process: ProcessKey) -> None:
        """A process was counted for the first time: its mappings are looked at while it is alive."""
        if self._counter.rules:
            self._observe(self._counter.rules, process)

    def read(self) -> None:
        """Unwind what was shipped since the last call, while the processes are likely to be alive."""
        if not (rules := self._counter.rules):
            return
        spaces: dict[tuple[ProcessKey, Code], int | None] = {}
        for number, raw in enumerate(self._counter.shipped()):
            process = process_key(raw.tgid, raw.code.start_ns)
            if (process, raw.code) not in spaces:
                self._observe(rules, process)
                spaces[process, raw.code] = self._space(rules, process, raw)
            addresses = self._unwind(process, raw)
            if space := spaces[process, raw.code]:
                places = (raw.state.ip, *(address - 1 for address in addresses[1:]), raw.unknown)
                rules.add(space, self._unwinder.rules(process, places))
            if number % _LESSON == 0:
                rules.flush()
        rules.flush()

    def forget(self, process: ProcessKey) -> None:
        self._unwinder.forget(process)
        self._spaces.pop(process, None)

    def _observe(self, rules: KernelRules, process: ProcessKey) -> None:
        if not self._unwinder.observe(process):
            rules.use_none(process.pid)
            self._spaces.pop(process, None)

    def _space(self, rules: KernelRules, process: ProcessKey, raw: RawStack) -> int | None:
        """Where the rules for this process belong; None if it keeps frame pointers and needs none."""
        if process not in self._spaces:
            if self._auto and not self._unwinder.needs_tables(process):
                rules.use_frame_pointers(raw.tgid, raw.code)
                return None
            self._spaces[process] = rules.new_space()
        rules.use_rules(raw.tgid, raw.code, self._spaces[process])
        return self._spaces[process]

    def _unwind(self, process: ProcessKey, raw: RawStack) -> tuple[int, ...]:
        unwound = self._unwinder.unwind(process, raw.state, raw.stack)
        self._book.add_flawed(raw.id, array("Q", unwound.addresses), _FLAWS.get(unwound.stop, Loss.BROKEN_STACK))
        return unwound.addresses
