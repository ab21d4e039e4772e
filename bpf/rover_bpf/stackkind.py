"""What a profiler that counts stacks says of itself, and the rows that its counter delivers."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from typing import NamedTuple

from rover_bpf.maps import Array
from rover_bpf.plans import Attachment
from rover_bpf.stackcount import StackCounter
from rover_bpf.unwinding import Unwind
from rover_core.model import Frame, Labels, ProcessKey, SampleType, Task

_TICK_NS = 10_000_000  # a clock tick of /proc/<pid>/stat: 1/100 s on every Linux architecture in use


def process_key(pid: int, start_ns: int) -> ProcessKey:
    """The process that the kernel knows by this number and start (task_struct.start_boottime, ns since boot)."""
    return ProcessKey(pid, start_ns // _TICK_NS)


class Row(NamedTuple):
    """A counted key. user, kernel: hashes of its stacks; tag: as the program set it; total: nanoseconds."""

    process: ProcessKey
    name: str
    user: int
    kernel: int
    tag: int
    events: int
    total: int


class StackKind(ABC):
    """What tells one kind of stack profile from another."""

    profiler: str
    sample_types: tuple[SampleType, ...]
    attributes: Mapping[str, str] = {}
    """What every profile of this kind says of itself, above all how to show it (`rover_core.showing`)."""

    @abstractmethod
    def counter_key(self, task: Task) -> Hashable:
        """What the task needs of a counter: tasks of equal keys share one. UsageError for impossible settings."""

    @abstractmethod
    def open_counter(self, key: Hashable) -> StackCounter:
        """Make the counter for a key. Raises RoverError."""

    @abstractmethod
    def values(self, row: Row, key: Hashable) -> tuple[int, ...]:
        """The values of `sample_types`."""

    def unwind(self, key: Hashable) -> Unwind:
        """How such a counter's user stacks are walked, if it ships them."""
        return "auto"

    def period_ns(self, key: Hashable) -> int:
        """Nanoseconds between samples; 0 where every event is counted."""
        return 0

    def labels(self, tag: int) -> Labels:
        """What the program's tag means."""
        return ()

    def trim(self, kernel: tuple[Frame, ...]) -> tuple[Frame, ...]:
        """The kernel's frames without those of the measuring itself."""
        return kernel


def try_out(kind: StackKind) -> Attachment:
    """Load and attach for real, then let go: what this comes to on this kernel. Raises RoverError."""
    counter = kind.open_counter(kind.counter_key(Task("", kind.profiler)))
    counter.close()
    return counter.attachment


def read_rows(keys: Array, values: Array) -> list[Row]:
    """Rows out of a counter's keys (dtype KEY) and values (dtype VALUE), arrays of one length."""
    processes = map(process_key, keys["tgid"].tolist(), keys["start_ns"].tolist())
    names = [comm.decode(errors="replace") for comm in keys["comm"].tolist()]
    hashes = (keys["user"].tolist(), keys["kernel"].tolist())
    numbers = (keys["tag"].tolist(), values["events"].tolist(), values["total"].tolist())
    return [Row(*row) for row in zip(processes, names, *hashes, *numbers, strict=True)]
