"""Stacks that the kernel could not walk: unwound here, and the kernel is told how, so that it can the next time."""

from array import array
from functools import partial

from rover_bpf.latestack import LateStack, follow_frame_pointers, read_memory
from rover_bpf.stackbook import StackBook
from rover_bpf.stackcount import StackCounter
from rover_bpf.stackkind import process_key
from rover_bpf.unwind import Stop, Unwinder, UserState
from rover_bpf.unwind.kernelrules import KernelRules
from rover_bpf.unwind.raw import Code, RawStack
from rover_bpf.unwinding import Unwind
from rover_core.logs import get_logger
from rover_core.model import Loss, ProcessKey

log = get_logger(__name__)

_FLAWS = {
    Stop.OUTERMOST: None,
    Stop.STACK_CUT: Loss.TRUNCATED_STACK,
    Stop.TOO_DEEP: Loss.TRUNCATED_STACK,
    Stop.NOT_OBSERVED: Loss.PROCESS_GONE,
}
"""What became of a stack that ended so; every other end is a broken one."""
# So many stacks of a process whose files keep frame pointers are unwound both ways before the kernel may follow them;
# so many of these may come out otherwise: a sample in a function's first or last instructions does.
_FIRST = 16
_MAY_DIFFER = 2
# Stacks after which the kernel is told what was learned: early in a long queue, since it is shipping more meanwhile.
_LESSON = 64
_LATE_BYTES = 1 << 14  # of a stack that is copied from outside: as many as the kernel ships (ROVER_STACK_BYTES)


class ShippedStacks:
    """Those of one counter. Nothing where the counter ships none."""

    def __init__(self, counter: StackCounter, book: StackBook, unwind: Unwind) -> None:
        self._counter = counter
        self._book = book
        self._auto = unwind == "auto"
        self._unwinder = Unwinder()
        self._spaces: dict[ProcessKey, int] = {}
        self._trials: dict[ProcessKey, list[bool]] = {}

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
            addresses = self._unwind(process, raw.id, raw.state, raw.stack)
            if space := spaces[process, raw.code]:
                places = (raw.state.ip, *(address - 1 for address in addresses[1:]), raw.unknown)
                rules.add(space, self._unwinder.rules(process, places))
            elif process in self._trials:
                followed = self._unwinder.by_frame_pointers(process, raw.state, raw.stack)
                self._trials[process].append(followed == addresses)
            if number % _LESSON == 0:
                rules.flush()
        rules.flush()

    def take_late(self, late: LateStack) -> None:
        """Note the stacks of a thread that is not running, its user stack by the way that its process goes."""
        self._book.add({late.kernel: late.addresses})
        if late.state is None:
            return
        process, read = late.process, partial(read_memory, late.process.pid)
        if self._counter.rules:
            self._observe(self._counter.rules, process)
        if not self._counter.rules or self._frame_pointers(process):
            self._book.add({late.user: array("Q", follow_frame_pointers(late.state, read))})
        else:
            self._unwind(process, late.user, late.state, read(late.state.sp, _LATE_BYTES))

    def forget(self, process: ProcessKey) -> None:
        self._unwinder.forget(process)
        self._decide_anew(process)

    def _observe(self, rules: KernelRules, process: ProcessKey) -> None:
        if not self._unwinder.observe(process):
            rules.use_none(process.pid)
            self._decide_anew(process)

    def _decide_anew(self, process: ProcessKey) -> None:
        self._spaces.pop(process, None)
        self._trials.pop(process, None)

    def _space(self, rules: KernelRules, process: ProcessKey, raw: RawStack) -> int | None:
        """Where the rules for this process belong; None if it keeps frame pointers, or that is still to be seen."""
        if process not in self._spaces:
            trusted = self._frame_pointers(process)
            if trusted:
                rules.use_frame_pointers(raw.tgid, raw.code)
            if trusted is not False:
                return None
            self._spaces[process] = rules.new_space()
        rules.use_rules(raw.tgid, raw.code, self._spaces[process])
        return self._spaces[process]

    def _frame_pointers(self, process: ProcessKey) -> bool | None:
        """Whether to trust them, by the process's files and then by its first stacks; None until those are seen."""
        if not self._auto or self._unwinder.needs_tables(process):
            return False
        trial = self._trials.setdefault(process, [])
        if len(trial) < _FIRST:
            return None
        differ = trial.count(False)
        if differ > _MAY_DIFFER:
            log.info("frame pointers lead astray: unwinding by tables", pid=process.pid, stacks=differ)
        return differ <= _MAY_DIFFER

    def _unwind(self, process: ProcessKey, key: int, state: UserState, stack: bytes) -> tuple[int, ...]:
        unwound = self._unwinder.unwind(process, state, stack)
        self._book.add_flawed(key, array("Q", unwound.addresses), _FLAWS.get(unwound.stop, Loss.BROKEN_STACK))
        return unwound.addresses
