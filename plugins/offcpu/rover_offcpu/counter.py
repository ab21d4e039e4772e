"""The off-CPU counter: a stack counter that also knows which threads are waiting right now."""

import itertools
import time
from collections.abc import Iterator

import numpy as np

from rover_bpf.iterator import iterate
from rover_bpf.latestack import LateStack
from rover_bpf.maps import Array
from rover_bpf.stackcount import FRAMES, KEY, VALUE, StackCounter
from rover_bpf.stackkind import process_key
from rover_bpf.unwind.raw import state_of
from rover_core.logs import get_logger

log = get_logger("off-CPU")

OFF = np.dtype([("since_ns", "<u8"), ("key", KEY)])
LATE = np.dtype(
    [
        *(("since_ns", "<u8"), ("start_ns", "<u8"), ("tgid", "<u4"), ("thread", "<u4")),
        *(("regs", "<u8", (21,)), ("depth", "<u8"), ("ip", "<u8", (FRAMES + 1,))),
    ]
)
_CS, _USER_CS = 17, 0x33  # in struct pt_regs; __USER_CS, of 64-bit code
ITERATOR = "bpf_iter__task"


class OffCpuCounter(StackCounter):
    """A wait is counted when it ends, under the stack it began with."""

    def _open_maps(self) -> None:
        super()._open_maps()
        self._off = self._map("rover_off", "<u4", OFF)
        self._late: dict[tuple[int, int], tuple[int, int]] = {}
        self._late_numbers = itertools.count(1)

    def waiting_stacks(self) -> set[int]:
        waiting = self._off.read()[1]["key"]
        return {*waiting["user"].tolist(), *waiting["kernel"].tolist()}

    def late_stacks(self) -> Iterator[LateStack]:
        self._late = {}
        iterator = self._program.functions.get(ITERATOR)
        if iterator is None or self._off.read()[1]["key"]["kernel"].all():
            return
        try:
            for record in iterate(iterator, LATE.itemsize):
                late = np.frombuffer(record, LATE)[0]
                stack = self._late_stack(late)
                self._late[int(late["thread"]), int(late["since_ns"])] = stack.user, stack.kernel
                yield stack
        except OSError as error:
            log.warning("waits that go on have no stacks", reason=error.strerror)

    def _late_stack(self, late: Array) -> LateStack:
        process = process_key(int(late["tgid"]), int(late["start_ns"]))
        # As with the stacks that the kernel ships and stores, even and odd; those are never so small.
        user = 2 * next(self._late_numbers)
        addresses = late["ip"][: late["depth"]].copy()
        registers = late["regs"].tolist()
        state = state_of(registers) if registers[_CS] == _USER_CS else None
        return LateStack(process, user, state, user + 1, addresses)

    def unfinished(self) -> tuple[Array, Array]:
        threads, waiting = self._off.read()
        keys = waiting["key"].copy()
        for at, wait in enumerate(zip(threads.tolist(), waiting["since_ns"].tolist(), strict=True)):
            if late := self._late.get(wait):  # the same wait still: its stack was what was read meanwhile
                keys["user"][at], keys["kernel"][at] = late
        values = np.zeros(len(waiting), VALUE)
        values["events"] = 1
        values["total"] = np.maximum(time.monotonic_ns() - waiting["since_ns"].astype(np.int64), 0)
        chosen = values["total"] >= self._spec.minimum_ns
        chosen &= (self._spec.tags >> keys["tag"].astype(np.uint64) & 1).astype(bool)
        return keys[chosen], values[chosen]
