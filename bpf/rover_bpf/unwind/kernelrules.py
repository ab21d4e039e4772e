"""Rules that the kernel follows itself: the user side of include/rover/unwind.h."""

from collections.abc import Iterable, Mapping
from itertools import count

import numpy as np

from rover_bpf.maps import BpfMap
from rover_bpf.program import MapInfo
from rover_bpf.unwind.raw import Code
from rover_bpf.unwind.rules import Kind, Rule

_CODE = np.dtype([("start_ns", "<u8"), ("mm", "<u8"), ("exec_vm", "<u8")])
WAY = np.dtype([("code", _CODE), ("space", "<u8")])
PLACE = np.dtype([("address", "<u8"), ("space", "<u8")])
RULE = np.dtype([("cfa", "<i4"), ("ra", "<i4"), ("fp", "<i4"), ("kind", "<u4")])

# enum rover_rule_kind. Rules of other kinds need more registers, or make no sense.
_KINDS = {Kind.SP: 0, Kind.FP: 1, Kind.CHAIN: 2, Kind.BARE: 3, Kind.END: 4}
_BY_FRAME_POINTERS = 0
_FARTHEST = 1 << 31


class KernelRules:
    """Of one loaded program. Rules are kept in spaces: one for the code of a process, as long as it is the same."""

    def __init__(self, maps: Mapping[str, MapInfo]) -> None:
        self._ways = BpfMap(maps["rover_ways"], "<u4", WAY)
        self._rules = BpfMap(maps["rover_rules"], PLACE, RULE)
        self._spaces = count(_BY_FRAME_POINTERS + 1)
        self._waiting: dict[tuple[int, int], tuple[int, int, int, int]] = {}

    def new_space(self) -> int:
        return next(self._spaces)

    def use_rules(self, pid: int, code: Code, space: int) -> None:
        """From now on the kernel walks this process's stacks by the rules of that space, while its code is this."""
        self._ways.update(pid, (code, space))

    def use_frame_pointers(self, pid: int, code: Code) -> None:
        """From now on the kernel walks this process's stacks by frame pointers, while its code is this."""
        self._ways.update(pid, (code, _BY_FRAME_POINTERS))

    def use_none(self, pid: int) -> None:
        """From now on the kernel ships all of this process's stacks."""
        self._ways.delete(pid)

    def add(self, space: int, rules: Iterable[tuple[int, Rule]]) -> None:
        """Have these rules, by address, in that space with the next `flush`."""
        for address, (kind, cfa, ra, fp, _) in rules:
            # 0 says that the frame pointer is not saved. No compiler saves it there, in the caller's frame.
            if kind in _KINDS and fp != 0 and max(abs(cfa), abs(ra), abs(fp or 0)) < _FARTHEST:
                self._waiting[address, space] = (cfa, ra, fp or 0, _KINDS[kind])

    def flush(self) -> None:
        if self._waiting:
            keys, values = np.array([*self._waiting], PLACE), np.array([*self._waiting.values()], RULE)
            self._rules.update_all(keys, values)
            self._waiting.clear()
