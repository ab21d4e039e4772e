"""The on-CPU profiler: a clock ticks on every processor, and each tick counts the stack it interrupts."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import cast

from rover_bpf.attach import CpuClock
from rover_bpf.plans import Attachment, Choice, Plan
from rover_bpf.stackcount import CounterSpec, StackCounter
from rover_bpf.stackkind import Row, StackKind
from rover_bpf.stackprofiler import StackProfiler
from rover_core.model import SampleType, Task
from rover_oncpu.period import check_period

NAME = "ON_CPU"
PROGRAM = Path(__file__).with_name("oncpu.bpf.c")
FUNCTIONS = {"rover_on_tick": "PERF_EVENT"}


class OnCpu(StackKind):
    """On-CPU profiles: a counter's key is its period in ns."""

    profiler = NAME
    sample_types = (SampleType("samples", "count"), SampleType("cpu", "nanoseconds"))
    attributes: Mapping[str, str] = {"text:nothing": "No samples: what was profiled used no CPU time meanwhile."}

    def __init__(self, default_period_ns: int) -> None:
        """default_period_ns: for tasks whose settings have no `period`."""
        self._default_period_ns = default_period_ns

    def counter_key(self, task: Task) -> int:
        return check_period(task.settings.get("period", self._default_period_ns))

    def open_counter(self, key: Hashable) -> StackCounter:
        # One way is enough: every kernel with eBPF has it.
        plan = Plan("on-CPU profiling", (Choice("rover_on_tick", CpuClock(cast(int, key))),))
        return StackCounter(CounterSpec(PROGRAM, FUNCTIONS, plan))

    def values(self, row: Row, key: Hashable) -> tuple[int, int]:
        return row.events, row.events * cast(int, key)

    def period_ns(self, key: Hashable) -> int:
        return cast(int, key)


def create(default_period_ns: int) -> StackProfiler:
    """The profiler that the plugin hands over."""
    return StackProfiler(OnCpu(default_period_ns))


def try_out(period_ns: int) -> Attachment:
    """Load and attach for real, then let go: what this comes to on this kernel. Raises RoverError."""
    counter = OnCpu(period_ns).open_counter(period_ns)
    counter.close()
    return counter.attachment
