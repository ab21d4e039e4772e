"""The on-CPU profiler: a clock ticks on every processor, and each tick counts the stack it interrupts."""

from collections.abc import Hashable
from pathlib import Path
from typing import cast

from rover_bpf.attach import CpuClock
from rover_bpf.plans import Attachment, Choice, Plan
from rover_bpf.stackcount import StackCounter
from rover_bpf.stackprofiler import Kind, StackProfiler
from rover_core.model import SampleType, Task
from rover_oncpu.period import check_period

NAME = "ON_CPU"
PROGRAM = Path(__file__).with_name("oncpu.bpf.c")
FUNCTIONS = {"rover_on_tick": "PERF_EVENT"}


def plan(period_ns: int) -> Plan:
    """How processors are made to tick. One way is enough: every kernel with eBPF has it."""
    return Plan("on-CPU profiling", (Choice("rover_on_tick", CpuClock(period_ns)),))


def create(default_period_ns: int) -> StackProfiler:
    """A profiler that samples each default_period_ns of CPU time, where a task's `period` does not say otherwise."""

    def period_of(task: Task) -> int:
        return check_period(task.settings.get("period", default_period_ns))

    return StackProfiler(
        Kind(
            NAME,
            (SampleType("samples", "count"), SampleType("cpu", "nanoseconds")),
            lambda events, _, period: (events, events * cast(int, period)),
            period_of,
            _open,
            lambda period: cast(int, period),
        )
    )


def _open(period: Hashable) -> StackCounter:
    return StackCounter(PROGRAM, FUNCTIONS, plan(cast(int, period)))


def try_out(period_ns: int) -> Attachment:
    """Load and attach for real, then let go: what this comes to on this kernel. Raises RoverError."""
    counter = _open(period_ns)
    counter.close()
    return counter.attachment
