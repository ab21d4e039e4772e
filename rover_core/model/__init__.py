"""The records that travel through Rover. Frozen, slotted, standard library only.

Times are nanoseconds: `*_ns`. Wall-clock times count from the Unix epoch. Stacks are leaf first (index 0 is the
innermost frame), as the kernel delivers them and as SkyWalking expects them.
"""

from rover_core.model.completeness import Completeness, Loss
from rover_core.model.figures import Distribution, Figure, Histogram, Meter
from rover_core.model.flows import Flow, FlowKey, Operation, OperationKey, Peer, endpoint_text
from rover_core.model.merging import ProfileMerger, merge_profiles
from rover_core.model.processes import Entity, Process, ProcessKey
from rover_core.model.profiles import Frame, Labels, Profile, SampleType, StackSample
from rover_core.model.samples import Sample, SampledExchange, SampledMessage, Syscall, TraceContext
from rover_core.model.tasks import SamplingRule, Task
from rover_core.model.telemetry import Telemetry

__all__ = [
    "Completeness",
    "Distribution",
    "Entity",
    "Figure",
    "Flow",
    "FlowKey",
    "Frame",
    "Histogram",
    "Labels",
    "Loss",
    "Meter",
    "Operation",
    "OperationKey",
    "Peer",
    "Process",
    "ProcessKey",
    "Profile",
    "ProfileMerger",
    "Sample",
    "SampleType",
    "SampledExchange",
    "SampledMessage",
    "SamplingRule",
    "StackSample",
    "Syscall",
    "Task",
    "Telemetry",
    "TraceContext",
    "endpoint_text",
    "merge_profiles",
]
