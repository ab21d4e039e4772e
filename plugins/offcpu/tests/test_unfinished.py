"""Stacks of waits that a profile's end cuts short: taken from outside where they were not taken at the beginning."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kernels import SHIPS_STACKS
from programs import go, process_of

from rover_bpf.stackprofiler import StackProfiler
from rover_core.model import Profile, StackSample, Task
from rover_offcpu import profiler as module
from rover_offcpu.counter import OffCpuCounter
from rover_offcpu.profiler import create
from rover_offcpu.settings import OffCpuSettings

pytestmark = pytest.mark.kernel

WITHOUT = ("-O2", "-fomit-frame-pointer")


class Forgetful(OffCpuCounter):
    """What it knows of waits that go on is forgotten but for their time, as if they had been noted by kprobe."""

    def late_stacks(self):  # type: ignore[no-untyped-def]
        for thread, wait in zip(*self._off.read(), strict=True):
            known = wait.copy()
            known["key"]["user"] = known["key"]["kernel"] = 0
            self._off.update(thread, known)
        return super().late_stacks()


@pytest.fixture
def profiler() -> Iterator[StackProfiler]:
    profiler = create(OffCpuSettings())
    yield profiler
    profiler.close()


def hanging(profiler: StackProfiler, program, unwind: str) -> StackSample:  # type: ignore[no-untyped-def]
    """The wait of a program that has done all it had to, and waits for a line that does not come."""
    time.sleep(0.2)
    profiler.start(Task("hang", "OFF_CPU", settings={"unwind": unwind}), [process_of(program)])
    go(program)
    program.stdout.readline()
    time.sleep(0.3)
    profile = profiler.stop("hang")
    assert isinstance(profile, Profile)
    (sample,) = [sample for sample in profile.samples if ("unfinished", "true") in sample.labels]
    return sample


def sleeping_primitives() -> set[str]:
    """Functions of the section .sched.text, which the kernel leaves out of a stack taken from outside."""
    symbols = [line.split() for line in Path("/proc/kallsyms").read_text().splitlines()]
    first, end = (int(next(s[0] for s in symbols if s[2] == f"__sched_text_{at}"), 16) for at in ("start", "end"))
    return {s[2] for s in symbols if first <= int(s[0], 16) < end}


@pytest.mark.parametrize(
    ("unwind", "flags", "name"), [("fp", (), "read"), ("auto", WITHOUT, "main" if SHIPS_STACKS else "read")]
)
def test_a_stack_taken_from_outside_is_that_taken_at_the_beginning(
    profiler, monkeypatch, build, start, unwind: str, flags: tuple[str, ...], name: str
) -> None:  # type: ignore[no-untyped-def]
    """Wrong: where a thread hangs depends on the kernel that it was profiled on, or is not known at all."""
    program = build("waits.c", *flags)
    at_first = hanging(profiler, start(program, "sleep"), unwind)
    monkeypatch.setattr(module, "OffCpuCounter", Forgetful)
    outside = hanging(profiler, start(program, "sleep"), unwind)
    assert [frame.symbol for frame in outside.user] == [frame.symbol for frame in at_first.user]
    assert name in [frame.symbol for frame in outside.user]
    left_out = sleeping_primitives()
    assert [f.symbol for f in outside.kernel] == [f.symbol for f in at_first.kernel if f.symbol not in left_out]
    assert any("pipe_read" in (frame.symbol or "") for frame in outside.kernel)
