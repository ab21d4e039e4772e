"""Which processes' stacks the kernel walks itself, by their files and then by their first stacks."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
import stops

from rover_bpf.shipped import ShippedStacks
from rover_bpf.stackbook import StackBook
from rover_bpf.stackcount import StackCounter
from rover_bpf.unwind import Unwinder
from rover_bpf.unwind.raw import Code, RawStack
from rover_bpf.unwind.rules import Rule

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="tracing children may need root")

BARE = ("-O1", "-nostdlib", "-static", "-fno-omit-frame-pointer")


@dataclass
class Taught:
    """Rules of a kernel that only notes which way it was told to walk."""

    ways: list[str] = field(default_factory=list)

    def new_space(self) -> int:
        return 1

    def use_frame_pointers(self, pid: int, code: Code) -> None:
        self.ways.append("frame pointers")

    def use_none(self, pid: int) -> None:
        pass

    def use_rules(self, pid: int, code: Code, space: int) -> None:
        self.ways.append("rules")

    def add(self, space: int, rules: Iterable[tuple[int, Rule]]) -> None:
        assert list(rules), "stacks were unwound, so there are rules"

    def flush(self) -> None:
        pass


@dataclass
class Ptraced:
    """Ships stacks as a counter does, of one thread that is stopped at random moments."""

    pid: int
    rules: Taught = field(default_factory=Taught)

    def shipped(self) -> Iterator[RawStack]:
        code = Code(stops.process_key(self.pid).start_ticks * 10**7, 1, 1)
        for number in range(1, 9):
            time.sleep(0.001)
            sample = stops.sample(self.pid)
            yield RawStack(2 * number, self.pid, code, 0, sample.state, sample.stack)


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
    for _ in range(2):  # sixteen stacks in all
        shipped.read()
        assert counter.rules.ways == []
    shipped.read()
    assert counter.rules.ways == ["rules" if without else "frame pointers"]
