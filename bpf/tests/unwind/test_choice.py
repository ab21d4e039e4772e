"""Which processes' stacks the kernel walks itself, by their files and then by their first stacks."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
import stops

from rover_bpf.stackbook import ShippedStacks, StackBook
from rover_bpf.stackcount import StackCounter
from rover_bpf.unwind import Unwinder
from rover_bpf.unwind.raw import RawStack

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="tracing children may need root")

BARE = ("-O1", "-nostdlib", "-static", "-fno-omit-frame-pointer")


@dataclass
class Ptraced:
    """Ships stacks as a counter does, of one thread that is stopped at random moments."""

    pid: int
    ships: bool = True
    walked: set[int] = field(default_factory=set)

    def shipped(self) -> Iterator[RawStack]:
        start_ns = stops.process_key(self.pid).start_ticks * 10**7
        for number in range(1, 9):
            time.sleep(0.001)
            sample = stops.sample(self.pid)
            yield RawStack(2 * number, start_ns, self.pid, sample.state, sample.stack)

    def walk_by_frame_pointers(self, pid: int) -> None:
        self.walked.add(pid)


@pytest.mark.parametrize("without", [False, True])
def test_frame_pointers_are_followed_if_the_first_stacks_bear_them_out(
    without: bool, built: Callable[..., Path], start: Callable[..., int]
) -> None:
    """Broken: a program most of whose functions keep frame pointers is believed, though those that work do not."""
    pid = start(built("mixed.c", *BARE, *(["-DWITHOUT"] if without else [])))
    counter, key = Ptraced(pid), stops.process_key(pid)
    unwinder = Unwinder()
    unwinder.observe(key)
    assert not unwinder.needs_tables(key)
    shipped = ShippedStacks(cast(StackCounter, counter), StackBook(), "auto")
    shipped.meet(key)
    shipped.read()
    assert counter.walked == set()
    for _ in range(3):
        shipped.read()
    assert counter.walked == (set() if without else {pid})
