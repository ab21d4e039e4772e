"""Addresses of stacks, by the hash or id that stands for them in counted keys, as long as they may be asked for."""

from array import array
from collections.abc import Collection, Mapping
from typing import TypeAlias

from rover_bpf.maps import Array
from rover_bpf.stackcount import StackCounter
from rover_bpf.stackkind import process_key
from rover_bpf.unwind import Stop, Unwinder, Unwound
from rover_bpf.unwind.raw import RawStack
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

Addresses: TypeAlias = "Array | array[int]"


class StackBook:
    """Stacks of the events that are counted now, and of those that are counted later.

    An event may be counted under a stack that was taken epochs ago (a long wait), or just when the maps were flipped.
    So a stack is kept while something still waits with it, and for one turn after that.
    """

    def __init__(self) -> None:
        self._latest: dict[int, Addresses] = {}
        self._previous: dict[int, Addresses] = {}
        self._waited_for: dict[int, Addresses] = {}
        self._flaws: dict[int, Loss] = {}

    def add(self, stacks: Mapping[int, Addresses]) -> None:
        self._latest.update(stacks)

    def add_flawed(self, key: int, addresses: Addresses, flaw: Loss | None) -> None:
        self._latest[key] = addresses
        if flaw:
            self._flaws[key] = flaw

    def find(self, key: int) -> list[int]:
        """The addresses, leaf first; empty if there are none."""
        found = self._latest.get(key)
        if found is None:
            found = self._previous.get(key)
        return [] if found is None else found.tolist()

    def flaw(self, key: int) -> Loss | None:
        """Why the stack is not whole; None if it is, or if nobody can tell."""
        return self._flaws.get(key)

    def turn(self, waiting: Collection[int]) -> None:
        """An epoch is over: the latest are the previous now, and of those only what something waits with stays."""
        both = {**self._previous, **self._latest}
        kept = {key: both[key] for key in waiting if key in both}
        # What was waited for a turn ago, too: such a wait may have ended since the flip, before anyone looked.
        self._previous = {**self._waited_for, **kept, **self._latest}
        self._waited_for, self._latest = kept, {}
        self._flaws = {key: flaw for key, flaw in self._flaws.items() if key in self._previous}


class ShippedStacks:
    """Unwinds what a counter ships, and decides for which processes it need not."""

    def __init__(self, counter: StackCounter, book: StackBook, unwind: Unwind) -> None:
        self._counter = counter
        self._book = book
        self._auto = unwind == "auto"
        self._unwinder = Unwinder()
        self._tried: dict[ProcessKey, list[bool]] = {}

    def meet(self, process: ProcessKey) -> None:
        """A process was counted for the first time."""
        if not self._counter.ships:
            return
        self._unwinder.observe(process)
        if self._auto and not self._unwinder.needs_tables(process):
            self._tried.setdefault(process, [])

    def read(self) -> None:
        """Unwind what was shipped since the last call, while the processes are likely to be alive."""
        observed: set[ProcessKey] = set()
        for raw in self._counter.shipped():
            process = process_key(raw.tgid, raw.start_ns)
            if process not in observed:
                self._unwinder.observe(process)
                observed.add(process)
            unwound = self._unwinder.unwind(process, raw.state, raw.stack)
            flaw = _FLAWS.get(unwound.stop, Loss.BROKEN_STACK)
            self._book.add_flawed(raw.id, array("Q", unwound.addresses), flaw)
            if process in self._tried:
                self._try(process, raw, unwound)

    def _try(self, process: ProcessKey, raw: RawStack, unwound: Unwound) -> None:
        """By its files' tables the process keeps frame pointers: whether its first stacks bear that out."""
        tried = self._tried[process]
        # What is not in the copy, of a deep stack or of Go's second one, the kernel can still follow to.
        cut = _FLAWS.get(unwound.stop) is Loss.TRUNCATED_STACK
        followed = self._unwinder.by_frame_pointers(process, raw.state, raw.stack)
        tried.append(cut or followed == unwound.addresses)
        if len(tried) < _FIRST:
            return
        del self._tried[process]
        if tried.count(False) <= _MAY_DIFFER:
            self._counter.walk_by_frame_pointers(process.pid)
        else:
            log.info("frame pointers lead astray: unwinding by tables", pid=process.pid, stacks=tried.count(False))

    def forget(self, process: ProcessKey) -> None:
        self._unwinder.forget(process)
        self._tried.pop(process, None)
