"""The off-CPU profiler: what threads wait for, how often and how long."""

from collections.abc import Hashable, Mapping
from functools import cache
from pathlib import Path
from typing import cast

from rover_bpf import stackkind
from rover_bpf.attach import Kprobe, RawTracepoint
from rover_bpf.plans import Attachment, Choice, Plan
from rover_bpf.stackcount import CounterSpec
from rover_bpf.stackkind import Row, StackKind
from rover_bpf.stackprofiler import StackProfiler
from rover_bpf.unwinding import Unwind, check_unwind
from rover_core.model import Frame, Labels, SampleType, Task
from rover_core.procfs import proc_root
from rover_offcpu.counter import ITERATOR, OffCpuCounter
from rover_offcpu.settings import STATES, OffCpuSettings, State, check_min_block, check_states

NAME = "OFF_CPU"
PROGRAM = Path(__file__).with_name("offcpu.bpf.c")
FUNCTIONS = {"rover_on_finish": "KPROBE", "rover_on_switch": "RAW_TRACEPOINT"}
MEMBERS = (
    ("task_struct", "pid"),
    ("task_struct", "tgid"),
    ("task_struct", "stack"),
    ("task_struct", "__state", "state"),
    ("task_struct", "sched_contributes_to_load"),
)
_OUR_FRAMES = 16  # at most so many of the innermost frames are the scheduler's and the measuring's own

Key = tuple[int, tuple[State, ...], Unwind]
"""Of a counter: shortest wait in ns, states, how its stacks are walked."""

_RING_BYTES = 8 << 20


def plan() -> Plan:
    """The end of a context switch where the kernel has kprobes, else its beginning."""
    choices = [Choice("rover_on_finish", Kprobe(symbol)) for symbol in _finish_task_switch()]
    return Plan("off-CPU profiling", (*choices, Choice("rover_on_switch", RawTracepoint("sched_switch"))))


@cache
def _finish_task_switch() -> tuple[str, ...]:
    """The names that the compiler gave the function: whole, or a clone of it (`.isra.0`)."""
    name = b"finish_task_switch"
    try:
        with (proc_root() / "kallsyms").open("rb") as lines:
            found = {line.split()[2] for line in lines if name in line}
    except OSError:
        found = set()
    clones = sorted(symbol.decode() for symbol in found if symbol == name or symbol.startswith(name + b".isra."))
    return tuple(clones) or (name.decode(),)


class OffCpu(StackKind):
    """Off-CPU profiles. Settings of a task: `min_block` (duration), `state` (names, comma separated), `unwind`."""

    profiler = NAME
    sample_types = (SampleType("delay", "nanoseconds"), SampleType("contentions", "count"))
    attributes: Mapping[str, str] = {
        "mark:state=preempted": "preempted",
        "mark:unfinished=true": "still waiting",
        "text:nothing": "No waits: what was profiled never left its processor meanwhile, or not for that long.",
    }

    def __init__(self, settings: OffCpuSettings, way: Plan | None = None) -> None:
        """way: what to attach instead of the best that this kernel has."""
        self._settings = settings
        self._way = way

    def counter_key(self, task: Task) -> Key:
        minimum = check_min_block(task.settings.get("min_block", self._settings.min_block))
        states = check_states(task.settings.get("state", self._settings.state))
        return minimum, states, check_unwind(task.settings.get("unwind", self._settings.unwind))

    def open_counter(self, key: Hashable) -> OffCpuCounter:
        minimum_ns, states, unwind = cast(Key, key)
        tags = sum(1 << STATES.index(state) + 1 for state in states)
        ship = 0 if unwind == "fp" else _RING_BYTES
        plan_ = self._way or plan()
        also = {ITERATOR: "TRACING"}
        return OffCpuCounter(CounterSpec(PROGRAM, FUNCTIONS, plan_, MEMBERS, minimum_ns, tags, ship, also))

    def unwind(self, key: Hashable) -> Unwind:
        return cast(Key, key)[2]

    def values(self, row: Row, key: Hashable) -> tuple[int, int]:
        return row.total, row.events

    def labels(self, tag: int) -> Labels:
        return (("state", STATES[tag - 1]),) if 1 <= tag <= len(STATES) else ()

    def trim(self, kernel: tuple[Frame, ...]) -> tuple[Frame, ...]:
        """Without the scheduler, which is the innermost of every wait: what called it is what is waited for."""
        names = [frame.symbol or "" for frame in kernel[:_OUR_FRAMES]]
        if "__schedule" not in names:
            return kernel
        inner = names.index("__schedule") + 1
        while inner < len(names) and names[inner].startswith("schedule"):
            inner += 1
        return kernel[inner:]


def create(settings: OffCpuSettings) -> StackProfiler:
    """The profiler that the plugin hands over."""
    return StackProfiler(OffCpu(settings))


def try_out(settings: OffCpuSettings) -> Attachment:
    """What this comes to on this kernel. Raises RoverError."""
    return stackkind.try_out(OffCpu(settings))
