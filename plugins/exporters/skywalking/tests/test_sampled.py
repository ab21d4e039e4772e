"""Sampled exchanges as logs and events, as the contract has them (sections 5.6 and 5.7)."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from living_agent import until
from skywalking_backend import Backend, process_id

from rover_core.model import Entity, Loss, Peer, Sample, Syscall, TraceContext
from rover_core.testing import FakeContext, make_sampled, make_telemetry
from rover_exporter_skywalking.backend import Backend as Client
from rover_exporter_skywalking.outbox import Outbox
from rover_exporter_skywalking.protocol.logging_pb2 import LogData
from rover_exporter_skywalking.protocol.span_pb2 import SpanAttachedEvent
from rover_exporter_skywalking.sampled import human_size, to_parcels

STOCK = Entity("OS_LINUX", "shop", "host", "stock")
BOOK: Any = SimpleNamespace(process_id=lambda entity: f"id-{entity.process}", cluster="")
SPAN: Any = SpanAttachedEvent


def told(*samples: Sample, book: Any = BOOK) -> tuple[list[Any], list[Any]]:
    logs, events = [], []
    for parcel in to_parcels(make_telemetry(samples=samples), book):
        if "Log" in parcel.rpc.path:
            logs += [LogData.FromString(data) for data in parcel.messages]
            assert parcel.kept == len(parcel.messages)
        else:
            events += [SPAN.FromString(data) for data in parcel.messages]
    return logs, events


def body(sample: Sample) -> dict[str, Any]:
    ((log,), _) = told(sample)
    made: dict[str, Any] = json.loads(log.body.json.json)
    return made


def test_a_log_is_as_the_contract_has_it() -> None:
    """Broken: the backend's rules for sampled traces do not recognise ours."""
    ((log,), _) = told(make_sampled(subject="/orders", duration_ns=1_999_999, reason="status_5xx", status="503"))
    assert (log.service, log.serviceInstance, log.layer, log.endpoint) == ("shop", "host", "OS_LINUX", "")
    assert log.timestamp == 1_700_000_005_000
    assert [(tag.key, tag.value) for tag in log.tags.data] == [("LOG_KIND", "NET_PROFILING_SAMPLED_TRACE")]
    context = log.traceContext
    assert (context.traceId, context.traceSegmentId, context.spanId) == ("trace.1", "", 0)
    assert log.body.type == "json"
    assert json.loads(log.body.json.json) == {
        "uri": "/orders",
        "reason": "status_5xx",
        "latency": 1,
        "trace_provider": "skywalking",
        "client_process": {"process_id": "id-shop", "local": False, "address": ""},
        "server_process": {"process_id": "", "local": False, "address": "10.0.0.7:80"},
        "detect_point": "client",
        "component": "http",
        "ssl": False,
        "status": 503,
    }


def test_both_ends_are_named_as_meters_name_them() -> None:
    """Broken: the edge that a sampled trace belongs to is another than that of its meters."""
    sample = make_sampled()
    ((own, _),) = sample.entities
    known = replace(sample, entities=((own, STOCK),))
    assert body(known)["server_process"] == {"process_id": "id-stock", "local": False, "address": ""}
    local = replace(sample, flow=replace(sample.flow, peer=Peer(local=True)))
    assert body(local)["server_process"] == {"process_id": "", "local": True, "address": ""}
    served = replace(sample, flow=replace(sample.flow, role="server"))
    assert body(served)["detect_point"] == "server"
    assert body(served)["server_process"]["process_id"] == "id-shop"
    assert body(served)["client_process"]["address"] == "10.0.0.7:80"


def test_what_the_backend_has_no_place_for_stays_here() -> None:
    """Broken: logs without a trace, of processes without an id or for unheard-of reasons reach the backend."""
    nobody: Any = SimpleNamespace(process_id=lambda entity: None, cluster="")
    assert told(make_sampled(trace=None)) == ([], [])
    assert told(make_sampled(reason="error")) == ([], [])
    assert told(make_sampled(), book=nobody) == ([], [])
    assert told(replace(make_sampled(), address="")) == ([], [])


def test_events_are_as_the_contract_has_them() -> None:
    """Broken: the backend's spans have no attached events, or with figures that mean something else."""
    sample = make_sampled()
    assert sample.exchange.request
    calls = (Syscall("Write", 5, 10**18 + 7, 3, 1536, "eth0", 2, 40), Syscall("Sendto", 5, 6))
    sample = replace(
        sample, exchange=replace(sample.exchange, request=replace(sample.exchange.request, syscalls=calls))
    )
    _, events = told(sample)
    assert [event.event for event in events] == [
        "HTTP Request Sampling",
        "Syscall Write",
        "Syscall Sendto",
        "HTTP Response Sampling",
    ]
    owner = {"service_name": "shop", "service_instance_name": "host", "process_name": "shop"}
    tags = [{tag.key: tag.value for tag in event.tags} for event in events]
    assert tags[0] == owner | {
        "data_size": "1.5KiB",
        "data_content": "GET /orders?id=7 HTTP/1.1\nHost: store\n\n",
        "data_direction": "outbound",
        "data_type": "request",
        "connection_role": "client",
    }
    assert tags[1] == owner | {
        "package_size": "1.5KiB",
        "package_count": "3",
        "network_name": "eth0",
        "network_index": "2",
        "avg_rtt_time": "40000ns",
    }
    assert "avg_rtt_time" not in tags[2]
    assert (tags[3]["data_direction"], tags[3]["data_type"]) == ("inbound", "response")
    assert (events[1].startTime.nanos, events[1].endTime.seconds, events[1].endTime.nanos) == (5, 10**9, 7)
    assert not events[0].summary
    context = events[0].traceContext
    assert (context.type, context.traceId, context.traceSegmentId, context.spanId) == (
        SPAN.SKYWALKING, "trace.1", "segment.1", "3",
    )  # fmt: skip


def test_a_zipkin_trace_and_a_server() -> None:
    """Broken: events of other tracers' spans are attached to none."""
    sample = make_sampled(trace=TraceContext("zipkin", "0af7", "", "b7ad"))
    _, events = told(replace(sample, flow=replace(sample.flow, role="server")))
    assert events[0].traceContext.type == SPAN.ZIPKIN
    directions = [next(tag.value for tag in event.tags if tag.key == "data_direction") for event in events]
    assert directions == ["inbound", "outbound"]


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (512, "512B"), (1536, "1.5KiB"), (1_234_567, "1.177MiB"), (1 << 30, "1GiB")]
)
def test_sizes(size: int, text: str) -> None:
    """Broken: sizes read otherwise than those of other agents."""
    assert human_size(size) == text


def test_hostile_text_is_sent() -> None:
    """Broken: one request with half a character stops a whole report."""
    sample = make_sampled(subject="/\udcff", trace=TraceContext("skywalking", "\ud800", "", "1"))
    logs, events = told(sample)
    assert len(logs) == 1
    assert len(events) == 2


def test_streams_are_one_for_each_service() -> None:
    """Broken: a backend takes the logs of one service for another's."""
    box = Outbox(1 << 20, lambda samples, cause: None)
    sample = make_sampled()
    samples = [replace(sample, entities=((replace(STOCK, service=name), None),)) for name in ("a", "b", "a")]
    box.put(to_parcels(make_telemetry(samples=samples), BOOK))
    streams = []
    while len(box):
        streams.append([(parcel.rpc.path.split("/")[1], parcel.stream) for parcel in box.take(1 << 20)])
    logs, events = "skywalking.v3.LogReportService", "skywalking.v3.SpanAttachedEventReportService"
    assert streams == [[(logs, "a")], [(logs, "b")], [(events, "")]]


async def test_they_reach_a_backend(
    backend: Backend, settings_for: Callable[..., Any], make_process: Callable[..., Any]
) -> None:
    """Broken: the calls are wrong, whatever the messages are; or what is lost is not counted."""
    client = Client(settings_for(backend))
    process = make_process("shop")
    (entity,) = process.entities
    sample = replace(make_sampled(), entities=((entity, None),))
    context = FakeContext([process])
    running = asyncio.create_task(client.source.run(context))
    await client.exporter.start(context)
    try:
        await until(lambda: backend.processes)
        batch = make_telemetry(samples=(sample,))
        await until(lambda: client.exporter._processes.process_id(entity))
        await client.exporter.export(batch)
        await until(lambda: backend.logs and len(backend.span_events) == 2)
    finally:
        running.cancel()
        await asyncio.wait({running})
    own = json.loads(backend.logs[0].body.json.json)["client_process"]
    assert own["process_id"] == process_id(next(iter(backend.processes.values())))
    await backend.stop()
    await client.exporter.export(batch)
    await client.exporter.stop()
    assert context.lost["skywalking", Loss.EXPORTER_DOWN] == 1
