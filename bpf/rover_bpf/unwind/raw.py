"""Stacks as the kernel ships them: the user side of include/rover/unwind.h."""

from dataclasses import dataclass

import numpy as np

from rover_bpf.stackcount import KEY, VALUE
from rover_bpf.unwind.walk import UserState

# Registers by name, and the DWARF numbers of those that UserState has no name for (machine.py).
_REGISTERS = ("ip", "sp", "fp", "rbx", "r12", "r13", "r14", "r15")
_OTHERS = {"rbx": 3, "r12": 12, "r13": 13, "r14": 14, "r15": 15}

RAW = np.dtype([("key", KEY), ("value", VALUE), *((name, "<u8") for name in _REGISTERS)])


@dataclass(frozen=True, slots=True)
class RawStack:
    """key, value: records of KEY and VALUE; state: the registers; stack: memory from state.sp upwards, a copy."""

    key: np.void
    value: np.void
    state: UserState
    stack: bytes


def read_raw(record: memoryview) -> RawStack:
    """One record of the ring rover_raw."""
    head = np.frombuffer(record, RAW, 1)[0].copy()
    ip, sp, fp, *others = head.tolist()[2:]
    state = UserState(ip, sp, fp, dict(zip(_OTHERS.values(), others, strict=True)))
    return RawStack(head["key"], head["value"], state, bytes(record[RAW.itemsize :]))
