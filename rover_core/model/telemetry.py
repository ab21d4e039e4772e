"""What a profiler delivers that is not stacks."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rover_core.model.completeness import Completeness
from rover_core.model.figures import Meter
from rover_core.model.flows import Flow, Operation
from rover_core.model.samples import Sample


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What one task's profiler measured in [start_ns, end_ns) that is not stacks: changes since its previous one.

    task_id: "" for what was measured for no task: meters that are only passed on.
    meters: as a backend takes them, of processes that it knows; flows: the same for people, of all. operations: what
    was asked over them, where the protocol is known. samples: exchanges that sampling rules asked for, the slowest of
    each flow and reason first. steps: what happened at each step from a call in the kernel to an exchange, of all
    that is watched: where something is missing they tell where it went.
    The unit of completeness is the event that was to be measured. attributes, last: as with `Profile`.
    """

    task_id: str
    profiler: str
    start_ns: int
    end_ns: int
    meters: tuple[Meter, ...]
    completeness: Completeness
    attributes: Mapping[str, str] = field(default_factory=dict)
    last: bool = False
    flows: tuple[Flow, ...] = ()
    samples: tuple[Sample, ...] = ()
    operations: tuple[Operation, ...] = ()
    steps: Mapping[str, int] = field(default_factory=dict)
