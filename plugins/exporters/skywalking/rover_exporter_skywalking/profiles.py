"""Profiles as the backend takes them (contract sections 1.5 and 4)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rover_core.model import Frame, Loss, Profile, StackSample
from rover_exporter_skywalking.accepted import Accepted
from rover_exporter_skywalking.naming import clean
from rover_exporter_skywalking.outbox import Parcel
from rover_exporter_skywalking.protocol.profiling_pb2 import (
    EBPFOffCPUProfiling,
    EBPFOnCPUProfiling,
    EBPFProfilingData,
    EBPFProfilingStackMetadata,
    EBPFProfilingStackType,
    EBPFProfilingTaskMetadata,
)
from rover_exporter_skywalking.rpc import COLLECT_PROFILING_DATA

MISSING = "[MISSING]"
_PARCEL = 256 << 10  # bytes; what is lost or sent again at a time
_MOST = 2**31 - 1  # int32
_LONGEST_SYMBOL = 4096  # characters; C++ has names of megabytes

_Symbols = tuple[str, ...]


@dataclass(slots=True)
class _Counts:
    events: int = 0
    duration_ns: int = 0
    kept: int = 0


def to_parcels(profile: Profile, accepted: Accepted) -> tuple[list[Parcel], dict[Loss, int]]:
    """What to send of a profile, and what of it the backend has no place for, by cause.

    Each parcel begins with the task's metadata, so that each can be sent alone. Sent again it is the same bytes,
    which the backend keeps once: it knows data by task, process, start, time and stack ids.
    """
    start_ms, now_ms = accepted.times(profile.start_ns, profile.end_ns)
    parcels: list[Parcel] = []
    stacks, lost = _by_process(profile, accepted)
    for process_id, counts in stacks.items():
        task = EBPFProfilingTaskMetadata(
            taskId=accepted.order.task_id, processId=process_id, profilingStartTime=start_ms, currentTime=now_ms
        )
        parcels += _parcels(task, _messages(profile.profiler, counts, accepted))
    return parcels, lost


_Stacks = dict[tuple[_Symbols, _Symbols], _Counts]


def _by_process(profile: Profile, accepted: Accepted) -> tuple[dict[str, _Stacks], dict[Loss, int]]:
    """Equal stacks added up, whatever their labels: the backend takes two messages of one stack and time for one."""
    units = {kind.unit: at for at, kind in enumerate(profile.sample_types)}
    stacks: dict[str, _Stacks] = {}
    lost: dict[Loss, int] = {}
    for sample in profile.samples:
        owners = accepted.processes.get(sample.process, ())
        if not owners:
            lost[Loss.PROCESS_GONE] = lost.get(Loss.PROCESS_GONE, 0) + sample.values[units["count"]]
        for index, process_id in enumerate(owners):
            counts = stacks.setdefault(process_id, {}).setdefault(_place(sample), _Counts())
            counts.events += sample.values[units["count"]]
            counts.duration_ns += sample.values[units["nanoseconds"]]
            counts.kept += 0 if index else sample.values[units["count"]]
    return stacks, lost


def _place(sample: StackSample) -> tuple[_Symbols, _Symbols]:
    kernel, user = _symbols(sample.kernel), _symbols(sample.user)
    return kernel, user if user or kernel else (MISSING,)


def _symbols(frames: Sequence[Frame]) -> _Symbols:
    return tuple(clean(frame.symbol[:_LONGEST_SYMBOL]) if frame.symbol else MISSING for frame in frames)


def _messages(profiler: str, stacks: _Stacks, accepted: Accepted) -> Iterator[tuple[EBPFProfilingData, int]]:
    """A message for each stack, and how many samples are lost with it."""
    for (kernel, user), counts in stacks.items():
        metadata = [
            EBPFProfilingStackMetadata(
                stackType=kind, stackId=accepted.stacks[kind is _KERNEL, symbols], stackSymbols=symbols
            )
            for kind, symbols in ((_KERNEL, kernel), (_USER, user))
            if symbols
        ]
        events = min(counts.events, _MOST)
        if profiler == "OFF_CPU":
            off_cpu = EBPFOffCPUProfiling(stacks=metadata, switchCount=events, duration=counts.duration_ns)
            yield EBPFProfilingData(offCPU=off_cpu), counts.kept
        else:
            yield EBPFProfilingData(onCPU=EBPFOnCPUProfiling(stacks=metadata, dumpCount=events)), counts.kept


_KERNEL = EBPFProfilingStackType.PROCESS_KERNEL_SPACE
_USER = EBPFProfilingStackType.PROCESS_USER_SPACE


def _parcels(task: EBPFProfilingTaskMetadata, messages: Iterator[tuple[EBPFProfilingData, int]]) -> Iterator[Parcel]:
    packed: list[bytes] = []
    size = samples = 0
    for message, kept in messages:
        if not packed:
            message.task.CopyFrom(task)
        packed.append(message.SerializeToString())
        size += len(packed[-1])
        samples += kept
        if size >= _PARCEL:
            yield Parcel(COLLECT_PROFILING_DATA, tuple(packed), samples)
            packed, size, samples = [], 0, 0
    if packed:
        yield Parcel(COLLECT_PROFILING_DATA, tuple(packed), samples)
