"""The off-CPU counter: a stack counter that also knows which threads are waiting right now."""

import time

import numpy as np

from rover_bpf.maps import Array
from rover_bpf.stackcount import KEY, VALUE, StackCounter

OFF = np.dtype([("since_ns", "<u8"), ("key", KEY)])


class OffCpuCounter(StackCounter):
    """A wait is counted when it ends, under the stack it began with."""

    def _open_maps(self) -> None:
        super()._open_maps()
        self._off = self._map("rover_off", "<u4", OFF)

    def waiting_stacks(self) -> set[int]:
        waiting = self._off.read()[1]["key"]
        return {*waiting["user"].tolist(), *waiting["kernel"].tolist()}

    def unfinished(self) -> tuple[Array, Array]:
        waiting = self._off.read()[1]
        values = np.zeros(len(waiting), VALUE)
        values["events"] = 1
        values["total"] = np.maximum(time.monotonic_ns() - waiting["since_ns"].astype(np.int64), 0)
        chosen = values["total"] >= self._spec.minimum_ns
        chosen &= (self._spec.tags >> waiting["key"]["tag"].astype(np.uint64) & 1).astype(bool)
        return waiting["key"][chosen], values[chosen]
