"""The off-CPU counter: a stack counter that also knows which threads are waiting right now."""

import time

import numpy as np

from rover_bpf.maps import Array
from rover_bpf.stackcount import KEY, VALUE, Counts, StackCounter

OFF = np.dtype([("since_ns", "<u8"), ("key", KEY)])


class OffCpuCounter(StackCounter):
    """A wait is counted when it ends, under the stack it began with.

    Where that stack is taken at the beginning (by the sched_switch tracepoint), it may be in maps that were emptied
    long before the wait ends. So the stacks of the threads that wait are kept here from collect to collect, and those
    no longer needed for one more: a wait may end between the flip of the maps and the look at who is waiting.
    """

    def _open_maps(self) -> None:
        super()._open_maps()
        self._off = self._map("rover_off", "<u4", OFF)
        self._stacks_of_waiting: dict[int, Array] = {}
        self._latest_stacks: dict[int, Array] = {}

    def collect(self) -> Counts:
        counts = super().collect()
        latest = {**self._stacks_of_waiting, **counts.stacks}
        stacks = {**self._latest_stacks, **latest}
        waiting = self._off.read()[1]["key"]
        hashes = {*waiting["user"].tolist(), *waiting["kernel"].tolist()}
        self._stacks_of_waiting = {key: stacks[key] for key in hashes if key in stacks}
        self._latest_stacks = latest
        return Counts(counts.keys, counts.values, stacks, counts.tally)

    def unfinished(self) -> tuple[Array, Array]:
        waiting = self._off.read()[1]
        values = np.zeros(len(waiting), VALUE)
        values["events"] = 1
        values["total"] = np.maximum(time.monotonic_ns() - waiting["since_ns"].astype(np.int64), 0)
        chosen = values["total"] >= self._spec.minimum_ns
        chosen &= (self._spec.tags >> waiting["key"]["tag"].astype(np.uint64) & 1).astype(bool)
        return waiting["key"][chosen], values[chosen]
