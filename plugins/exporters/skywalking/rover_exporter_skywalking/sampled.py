"""Sampled exchanges as logs and as events attached to spans (contract sections 5.6 and 5.7)."""

import json
from collections.abc import Iterator
from typing import Any

from rover_core.model import Entity, Sample, SampledMessage, Syscall, Telemetry, TraceContext
from rover_exporter_skywalking.naming import clean, in_cluster
from rover_exporter_skywalking.outbox import Parcel
from rover_exporter_skywalking.processes import ProcessBook
from rover_exporter_skywalking.protocol.common_pb2 import Instant, KeyStringValuePair
from rover_exporter_skywalking.protocol.logging_pb2 import JSONLog, LogData, LogDataBody, LogTags
from rover_exporter_skywalking.protocol.logging_pb2 import TraceContext as LogTrace
from rover_exporter_skywalking.protocol.span_pb2 import SpanAttachedEvent
from rover_exporter_skywalking.rpc import COLLECT_LOGS, COLLECT_SPAN_EVENTS

_REASONS = ("slow", "status_4xx", "status_5xx")
_KIND = KeyStringValuePair(key="LOG_KIND", value="NET_PROFILING_SAMPLED_TRACE")
_REFERENCES: dict[str, Any] = {"skywalking": SpanAttachedEvent.SKYWALKING, "zipkin": SpanAttachedEvent.ZIPKIN}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_NS = 1_000_000_000


def to_parcels(telemetry: Telemetry, processes: ProcessBook) -> list[Parcel]:
    """A stream of logs for each service, then one of all events.

    A log for each entity of who had an exchange, of those that are part of a trace. An exchange counts with its log.
    """
    logs: dict[str, list[bytes]] = {}
    events: list[bytes] = []
    for sample in telemetry.samples:
        trace = sample.exchange.trace
        if trace is None or sample.exchange.reason not in _REASONS:
            continue
        for entity, peer in sample.entities:
            peer_id = processes.process_id(peer) if peer else None
            body = _body(sample, trace, processes.process_id(entity), peer_id)
            if body is None:
                continue
            named = in_cluster(entity, processes.cluster)
            log = _log(named, trace, body, telemetry.end_ns)
            logs.setdefault(log.service, []).append(log.SerializeToString())
            events += (event.SerializeToString() for event in _events(sample, trace, named))
    parcels = [Parcel(COLLECT_LOGS, tuple(each), len(each), service) for service, each in logs.items()]
    return [*parcels, Parcel(COLLECT_SPAN_EVENTS, tuple(events), 0)] if events else parcels


def _log(entity: Entity, trace: TraceContext, body: dict[str, Any], now_ns: int) -> LogData:
    return LogData(
        timestamp=now_ns // 1_000_000,
        service=clean(entity.service),
        serviceInstance=clean(entity.instance),
        layer=clean(entity.layer),
        body=LogDataBody(type="json", json=JSONLog(json=json.dumps(body))),
        traceContext=LogTrace(traceId=clean(trace.trace_id)),
        tags=LogTags(data=[_KIND]),
    )


def _body(sample: Sample, trace: TraceContext, own_id: str | None, peer_id: str | None) -> dict[str, Any] | None:
    """None while the backend has no id for the process, or if nothing is known of the other end."""
    exchange, role = sample.exchange, sample.flow.role
    local = sample.flow.peer.local and not peer_id
    if own_id is None or not (peer_id or local or sample.address):
        return None
    own = {"process_id": own_id, "local": False, "address": ""}
    peer = {"process_id": peer_id or "", "local": local, "address": "" if peer_id or local else sample.address}
    client, server = (peer, own) if role == "server" else (own, peer)
    return {
        "uri": clean(exchange.subject),
        "reason": exchange.reason,
        "latency": exchange.duration_ns // 1_000_000,
        "trace_provider": trace.provider,
        "client_process": client,
        "server_process": server,
        "detect_point": role or "unknown",
        "component": exchange.protocol,
        "ssl": exchange.ssl,
        "status": int(exchange.status) if exchange.status.isdecimal() else 0,
    }


def _events(sample: Sample, trace: TraceContext, entity: Entity) -> Iterator[SpanAttachedEvent]:
    exchange, role = sample.exchange, sample.flow.role or "unknown"
    outgoing = {"request": "inbound", "response": "outbound"} if role == "server" else _AS_CLIENT
    for kind, message in (("request", exchange.request), ("response", exchange.response)):
        if message is None:
            continue
        tags = {
            "data_size": human_size(message.size),
            "data_content": message.text,
            "data_direction": outgoing[kind],
            "data_type": kind,
            "connection_role": role,
        }
        yield _event(f"{exchange.protocol.upper()} {kind.title()} Sampling", message, tags, trace, entity)
        for call in message.syscalls:
            yield _event(f"Syscall {call.function}", call, _call_tags(call), trace, entity)


_AS_CLIENT = {"request": "outbound", "response": "inbound"}


def _call_tags(call: Syscall) -> dict[str, str]:
    tags = {
        "package_size": human_size(call.packet_bytes),
        "package_count": str(call.packets),
        "network_name": call.interface,
        "network_index": str(call.interface_index),
    }
    return tags | {"avg_rtt_time": f"{call.rtt_us * 1000}ns"} if call.rtt_us else tags


def _event(
    name: str, span: SampledMessage | Syscall, tags: dict[str, str], trace: TraceContext, entity: Entity
) -> SpanAttachedEvent:
    owner = {
        "service_name": entity.service,
        "service_instance_name": entity.instance,
        "process_name": entity.process,
    }
    return SpanAttachedEvent(
        startTime=_instant(span.start_ns),
        event=name,
        endTime=_instant(span.end_ns),
        tags=[KeyStringValuePair(key=key, value=clean(value)) for key, value in {**tags, **owner}.items()],
        traceContext=SpanAttachedEvent.SpanReference(
            type=_REFERENCES[trace.provider],
            traceId=clean(trace.trace_id),
            traceSegmentId=clean(trace.segment_id),
            spanId=clean(trace.span_id),
        ),
    )


def _instant(ns: int) -> Instant:
    return Instant(seconds=ns // _NS, nanos=ns % _NS)


def human_size(size: float) -> str:
    """Four significant digits, to base 1024: `512B`, `1.5KiB`."""
    for unit in _UNITS[:-1]:
        if size < 1024:
            return f"{size:.4g}{unit}"
        size /= 1024
    return f"{size:.4g}{_UNITS[-1]}"
