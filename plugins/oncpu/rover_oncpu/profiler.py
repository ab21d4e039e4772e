"""The on-CPU profiler: a clock ticks on every processor, and each tick counts the stack it interrupts."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import cast

from rover_bpf import stackkind
from rover_bpf.attach import CpuClock
from rover_bpf.cpus import online_cpus
from rover_bpf.plans import Attachment, Choice, Plan
from rover_bpf.stackcount import CounterSpec, StackCounter
from rover_bpf.stackkind import Row, StackKind
from rover_bpf.stackprofiler import StackProfiler
from rover_bpf.unwinding import Unwind, check_unwind
from rover_core.model import SampleType, Task
from rover_oncpu.period import check_period
from rover_oncpu.settings import OnCpuSettings

NAME = "ON_CPU"
PROGRAM = Path(__file__).with_name("oncpu.bpf.c")
FUNCTIONS = {"rover_on_tick": "PERF_EVENT"}


Key = tuple[int, Unwind]
"""Of a counter: its period in ns, how its stacks are walked."""

_STACK_BYTES = 12 << 10  # of a shipped stack, on average; 16 KB at most
_LARGEST_RING = 32 << 20


class OnCpu(StackKind):
    """On-CPU profiles. Settings of a task: `period` (duration) and `unwind`."""

    profiler = NAME
    sample_types = (SampleType("samples", "count"), SampleType("cpu", "nanoseconds"))
    attributes: Mapping[str, str] = {"text:nothing": "No samples: what was profiled used no CPU time meanwhile."}

    def __init__(self, settings: OnCpuSettings) -> None:
        self._settings = settings

    def counter_key(self, task: Task) -> Key:
        period_ns = check_period(task.settings.get("period", self._settings.dump_period))
        return period_ns, check_unwind(task.settings.get("unwind", self._settings.unwind))

    def open_counter(self, key: Hashable) -> StackCounter:
        period_ns, unwind = cast(Key, key)
        # One way is enough: every kernel with eBPF has it.
        plan = Plan("on-CPU profiling", (Choice("rover_on_tick", CpuClock(period_ns)),))
        ship = 0 if unwind == "fp" else _ring_bytes(period_ns)
        return StackCounter(CounterSpec(PROGRAM, FUNCTIONS, plan, ship_bytes=ship))

    def unwind(self, key: Hashable) -> Unwind:
        return cast(Key, key)[1]

    def values(self, row: Row, key: Hashable) -> tuple[int, int]:
        return row.events, row.events * self.period_ns(key)

    def period_ns(self, key: Hashable) -> int:
        return cast(Key, key)[0]


def _ring_bytes(period_ns: int) -> int:
    """Room for half a second of stacks from every processor: the ring is read five times a second."""
    return min(len(online_cpus()) * 500_000_000 // period_ns * _STACK_BYTES, _LARGEST_RING)


def create(settings: OnCpuSettings) -> StackProfiler:
    """The profiler that the plugin hands over."""
    return StackProfiler(OnCpu(settings))


def try_out(settings: OnCpuSettings) -> Attachment:
    """What this comes to on this kernel. Raises RoverError."""
    return stackkind.try_out(OnCpu(settings))
