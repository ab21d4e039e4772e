"""Small records that look real."""

import os
from collections.abc import Sequence
from typing import Any

from rover_core import procfs
from rover_core.model import (
    Completeness,
    Entity,
    Frame,
    Meter,
    Process,
    ProcessKey,
    Profile,
    SampleType,
    StackSample,
    Telemetry,
)

SAMPLE_TYPES = (SampleType("samples", "count"), SampleType("cpu", "nanoseconds"))
_PERIOD_NS = 9_000_000


def make_sample(
    name: str = "shop", pid: int = 10, count: int = 1, stack: Sequence[str] = ("work", "main")
) -> StackSample:
    """`count` samples of a process. stack: function names, leaf first, the kernel's with `k:` in front."""
    user = tuple(Frame(function, name, 4) for function in stack if not function.startswith("k:"))
    kernel = tuple(Frame(function[2:], "[kernel]", 4, kernel=True) for function in stack if function.startswith("k:"))
    return StackSample(ProcessKey(pid, pid * 7), name, user, kernel, (count, count * _PERIOD_NS))


def make_profile(*samples: StackSample, **fields: Any) -> Profile:
    """A complete profile of these samples (of one, if none are given). fields: of `Profile`, to have otherwise."""
    held = samples or (make_sample(),)
    total = sum(sample.values[0] for sample in held)
    values: dict[str, Any] = {
        "task_id": "task",
        "profiler": "FAKE",
        "start_ns": 1_700_000_000_000_000_000,
        "end_ns": 1_700_000_005_000_000_000,
        "sample_types": SAMPLE_TYPES,
        "samples": held,
        "completeness": Completeness(total, total),
        "period_ns": _PERIOD_NS,
        "attributes": {"host": "test"},
    }
    return Profile(**{**values, **fields})


def make_telemetry(*meters: Meter, **fields: Any) -> Telemetry:
    """What a task measured in five seconds (one meter, if none are given). fields: of `Telemetry`."""
    shop = Entity("OS_LINUX", "shop", "host", "shop")
    held = meters or (Meter(shop, "requests", (("server_process_id", shop), ("side", "server")), 3.0),)
    values: dict[str, Any] = {
        "task_id": "task",
        "profiler": "FAKE",
        "start_ns": 1_700_000_000_000_000_000,
        "end_ns": 1_700_000_005_000_000_000,
        "meters": held,
        "completeness": Completeness(len(held), len(held)),
    }
    return Telemetry(**{**values, **fields})


def this_process() -> Process:
    """The one that runs the test: alive for as long as it takes."""
    process = procfs.read_process(os.getpid())
    assert process is not None
    return process
