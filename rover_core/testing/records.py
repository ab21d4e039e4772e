"""Small records that look real."""

import os
from collections.abc import Sequence
from typing import Any

from rover_core import procfs
from rover_core.model import (
    Completeness,
    Entity,
    FlowKey,
    Frame,
    Meter,
    Peer,
    Process,
    ProcessKey,
    Profile,
    Sample,
    SampledExchange,
    SampledMessage,
    SampleType,
    StackSample,
    Telemetry,
    TraceContext,
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


def make_sampled(**fields: Any) -> Sample:
    """A slow exchange of a client with a server that its host does not know. fields: of `SampledExchange`."""
    shop = Entity("OS_LINUX", "shop", "host", "shop")
    flow = FlowKey(ProcessKey(10, 70), "shop", "client", "tcp", Peer(address="10.0.0.7", port=80))
    start_ns = 1_700_000_001_000_000_000
    request = SampledMessage(start_ns, start_ns + 1_000_000, 1536, "GET /orders?id=7 HTTP/1.1\nHost: store\n\n")
    response = SampledMessage(start_ns + 300_000_000, start_ns + 350_000_000, 512, "HTTP/1.1 200 OK\n\nten boxes")
    values: dict[str, Any] = {
        "protocol": "http",
        "reason": "slow",
        "operation": "GET",
        "subject": "/orders",
        "status": "200",
        "start_ns": start_ns,
        "duration_ns": 350_000_000,
        "trace": TraceContext("skywalking", "trace.1", "segment.1", "3"),
        "request": request,
        "response": response,
    }
    return Sample(flow, "10.0.0.7:80", SampledExchange(**{**values, **fields}), ((shop, None),))


def this_process() -> Process:
    """The one that runs the test: alive for as long as it takes."""
    process = procfs.read_process(os.getpid())
    assert process is not None
    return process
