"""The on-CPU profiler: a clock ticks on every processor, and each tick counts the stack it interrupts."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any, cast

from rover_bpf.attach import CpuClock
from rover_bpf.plans import Attachment, Choice, Plan
from rover_bpf.stackcount import StackCounter
from rover_bpf.stackprofiler import Kind, StackProfiler
from rover_core.config.types import format_duration, parse_duration
from rover_core.errors import UsageError
from rover_core.model import SampleType, Task

NAME = "ON_CPU"
PROGRAM = Path(__file__).with_name("oncpu.bpf.c")
FUNCTIONS = {"rover_on_tick": "PERF_EVENT"}
SHORTEST_PERIOD_NS = 100_000
"""Below 100 us a tick costs the profiled program a noticeable share of its time."""


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


def check_period(period: Any) -> int:
    """Nanoseconds of a task's period, given as such or as text. UsageError if it makes no sense."""
    try:
        period_ns = parse_duration(period) if isinstance(period, str) else int(period)
    except ValueError as error:
        raise UsageError("the sampling period is not usable", why=str(error)) from error
    if not SHORTEST_PERIOD_NS <= period_ns <= 1_000_000_000:
        raise UsageError(
            f"a sampling period of {format_duration(period_ns)} is not usable",
            why="the shortest is 100us, the longest 1s",
            remedy="9ms, the default, is 111 samples a second",
        )
    return period_ns
