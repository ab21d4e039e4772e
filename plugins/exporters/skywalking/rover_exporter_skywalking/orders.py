"""Profiling tasks as the backend orders them: commands `EBPFProfilingTaskQuery` (contract section 2.1)."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from rover_core.model import SamplingRule
from rover_exporter_skywalking.protocol.common_pb2 import Command
from rover_exporter_skywalking.sampling import read_sampling

COMMAND = "EBPFProfilingTaskQuery"
_TARGETS = ("ON_CPU", "OFF_CPU", "NETWORK")
_MOST_MS = 253_402_300_799_000  # 9999-12-31
_LONGEST_ID = 512
_MOST_SECONDS = 366 * 86_400


@dataclass(frozen=True, slots=True)
class Order:
    """A command, understood. task_id: the backend's; several orders share it where a task is about many processes."""

    task_id: str
    process_ids: tuple[str, ...]
    profiler: str
    update_ms: int
    start_ns: int
    duration_ns: int
    sampling: tuple[SamplingRule, ...] = ()

    @property
    def end_ns(self) -> int:
        """The backend's: picking a task up late does not shift its end."""
        return self.start_ns + self.duration_ns

    @property
    def subject(self) -> tuple[tuple[str, ...], str]:
        """What is profiled how: a new task about the same replaces the old one (contract section 3.3)."""
        return self.process_ids, self.profiler

    @property
    def rover_id(self) -> str:
        """A name for the task in Rover, the same whenever the order comes."""
        digest = hashlib.blake2b("\n".join((*self.process_ids, self.profiler)).encode(), digest_size=4)
        return f"{self.task_id}-{digest.hexdigest()}"


def read_order(command: Command) -> Order:
    """Understand a command. Raises ValueError or UsageError with what is wrong with it."""
    if command.command != COMMAND:
        raise ValueError(f"there is no command {command.command[:60]!r}")
    arguments = {pair.key: pair.value for pair in command.args}
    trigger, target = _text(arguments, "TriggerType"), _text(arguments, "TargetType")
    if trigger != "FIXED_TIME":
        raise ValueError(f"TriggerType is {trigger[:60]!r}, not FIXED_TIME")
    if target not in _TARGETS:
        raise ValueError(f"TargetType is {target[:60]!r}, not one of {', '.join(_TARGETS)}")
    process_ids = dict.fromkeys(part.strip() for part in _text(arguments, "ProcessId").split(",") if part.strip())
    if not process_ids:
        raise ValueError("ProcessId names no process")
    task_id = _text(arguments, "TaskId")
    if len(task_id) > _LONGEST_ID:
        raise ValueError(f"TaskId has {len(task_id)} characters, more than {_LONGEST_ID}")
    return Order(
        task_id=task_id,
        process_ids=tuple(process_ids),
        profiler=target,
        update_ms=_number(arguments, "TaskUpdateTime", _MOST_MS),
        start_ns=_number(arguments, "TaskStartTime", _MOST_MS) * 1_000_000,
        duration_ns=_number(arguments, "FixedTriggerDuration", _MOST_SECONDS) * 1_000_000_000,
        sampling=read_sampling(_text(arguments, "ExtensionConfigJSON")),
    )


def _text(arguments: Mapping[str, str], name: str) -> str:
    if not arguments.get(name):
        raise ValueError(f"the argument {name} is missing")
    return arguments[name]


def _number(arguments: Mapping[str, str], name: str, most: int) -> int:
    text = _text(arguments, name)
    if len(text) > 20 or not text.isascii() or not text.removeprefix("-").isdecimal():
        raise ValueError(f"{name} is {text[:40]!r}, not a whole number")
    if not 0 <= int(text) <= most:
        raise ValueError(f"{name} is {text}, which is not between 0 and {most}")
    return int(text)
