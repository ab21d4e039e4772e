"""Stacks, and how often and how long processes were seen in them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rover_core.model.completeness import Completeness
from rover_core.model.processes import ProcessKey

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a stack.

    symbol: the function's (demangled) name, None if it could not be found.
    module: base name of the mapped file, `[kernel]`, `[vdso]`, or "" where the address lies in no known mapping.
    offset: with a symbol, bytes from its start; else the address within the module's file (or the raw address).
    """

    symbol: str | None
    module: str
    offset: int
    kernel: bool = False

    @property
    def label(self) -> str:
        """What a person reads: the symbol, or `module+0xoffset`."""
        return self.symbol or f"{self.module or '[unknown]'}+{self.offset:#x}"


@dataclass(frozen=True, slots=True)
class StackSample:
    """How often (and how long) one process was seen in one place.

    name: the process's name at that time. user, kernel: frames, leaf first; the kernel part lies below (is called
    by) nothing: a whole stack is kernel frames, then user frames. values: one per sample type of the profile.
    labels: what else tells this sample from others of the same stack, as (name, value): `("state", "preempted")`.
    """

    process: ProcessKey
    name: str
    user: tuple[Frame, ...]
    kernel: tuple[Frame, ...]
    values: tuple[int, ...]
    labels: Labels = ()

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The whole stack, leaf first."""
        return self.kernel + self.user


@dataclass(frozen=True, slots=True)
class SampleType:
    """What one value of a sample counts: a name (`samples`, `cpu`, `delay`) and a unit (`count`, `nanoseconds`)."""

    name: str
    unit: str


@dataclass(frozen=True, slots=True)
class Profile:
    """What one task's profiler saw in [start_ns, end_ns): the changes since its previous profile.

    sample_types[0] is what tables and flame graphs are drawn by unless asked otherwise. period_ns: nanoseconds
    between samples, 0 where every event is counted. attributes: how it was made (`probe`, `host`); those with a colon
    in their names say how to show it (`rover_core.showing`). last: the task is over, no other will come.
    """

    task_id: str
    profiler: str
    start_ns: int
    end_ns: int
    sample_types: tuple[SampleType, ...]
    samples: tuple[StackSample, ...]
    completeness: Completeness
    period_ns: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)
    last: bool = False
