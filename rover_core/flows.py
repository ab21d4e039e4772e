"""Telemetry added up, and as JSON. Floor 1, standard library only."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any, BinaryIO

from rover_core.model import (
    Completeness,
    Distribution,
    Figure,
    Flow,
    FlowKey,
    Histogram,
    Operation,
    OperationKey,
    Peer,
    Sample,
    Telemetry,
)

_ROOM = 8192
_SAMPLES = 256
_TEXT = 16 << 20  # characters of samples


class TelemetryMerger:
    """Adds up telemetry of one task: flows of one key become one. Meters, which backends add up, are left out.

    room: flows to keep at most; beyond it the half with the fewest bytes is let go, and counted in `let_go`. Of
    samples the slowest stay.
    """

    def __init__(self, room: int = _ROOM) -> None:
        self._room = room
        self._flows: dict[FlowKey, Flow] = {}
        self._samples: list[Sample] = []
        self._operations: dict[OperationKey, Operation] = {}
        self._steps: dict[str, int] = {}
        self._last: Telemetry | None = None
        self._start_ns = 0
        self._completeness = Completeness()
        self._attributes: dict[str, str] = {}
        self.let_go = 0

    def add(self, telemetry: Telemetry) -> None:
        if self._last is None:
            self._start_ns = telemetry.start_ns
        self._last = telemetry
        self._completeness += telemetry.completeness
        self._attributes.update(telemetry.attributes)
        for flow in telemetry.flows:
            known = self._flows.get(flow.key)
            self._flows[flow.key] = known + flow if known else flow
        if telemetry.samples:
            self._samples = _slowest([*self._samples, *telemetry.samples])
        add_operations(telemetry.operations, self._operations, self._room)
        add_steps(telemetry.steps, self._steps)
        if len(self._flows) > self._room:
            heaviest = sorted(self._flows.values(), key=traffic, reverse=True)
            self.let_go += len(heaviest) - self._room // 2
            self._flows = {flow.key: flow for flow in heaviest[: self._room // 2]}

    def result(self) -> Telemetry | None:
        """The sum; None if nothing was added."""
        if self._last is None:
            return None
        return replace(
            self._last,
            start_ns=self._start_ns,
            meters=(),
            flows=tuple(sorted(self._flows.values(), key=traffic, reverse=True)),
            samples=tuple(self._samples),
            operations=tuple(sorted(self._operations.values(), key=_exchanges, reverse=True)),
            steps=self._steps,
            completeness=self._completeness,
            attributes=self._attributes,
        )


def _slowest(samples: list[Sample]) -> list[Sample]:
    """As many as there is room for, the slowest first."""
    kept, room = [], _TEXT
    for sample in sorted(samples, key=lambda each: each.exchange.duration_ns, reverse=True)[:_SAMPLES]:
        room -= sum(len(each.text) for each in (sample.exchange.request, sample.exchange.response) if each)
        if room < 0:
            break
        kept.append(sample)
    return kept


OTHER_OPERATION = "other"
"""What operations are called together for which there is no room."""


def add_operations(operations: Iterable[Operation], into: dict[OperationKey, Operation], room: int = _ROOM) -> None:
    """Add them up by key; beyond `room` of them, what is new is put together by process, peer and protocol."""
    for operation in operations:
        key = operation.key
        if key not in into and len(into) >= room:
            key = replace(key, operation_class=OTHER_OPERATION, operation=OTHER_OPERATION)
            operation = replace(operation, key=key)
        known = into.get(key)
        into[key] = known + operation if known else operation


def add_steps(steps: Mapping[str, int], into: dict[str, int]) -> None:
    for name, count in steps.items():
        into[name] = into.get(name, 0) + count


def _exchanges(operation: Operation) -> int:
    return operation.exchanges


def traffic(flow: Flow) -> int:
    """Bytes, both ways."""
    return sum(figure.bytes for figure in flow.figures.values())


class Json:
    """The `TelemetryFormat` that is always there."""

    name = "json"
    extension = "jsonl"
    binary = False
    description = "lines of JSON"

    def write_telemetry(self, telemetry: Telemetry, out: BinaryIO) -> None:
        out.writelines(f"{line}\n".encode() for line in json_lines(telemetry))


def json_lines(telemetry: Telemetry) -> Iterator[str]:
    """A line for each flow, the one with the most bytes first, for each operation and each sample, and one for the
    interval with its completeness."""
    for flow in sorted(telemetry.flows, key=traffic, reverse=True):
        yield json.dumps({"type": "flow", **_span(telemetry), **flow_record(flow)})
    for operation in sorted(telemetry.operations, key=_exchanges, reverse=True):
        yield json.dumps({"type": "operation", **_span(telemetry), **operation_record(operation)})
    for sample in telemetry.samples:
        yield json.dumps({"type": "sample", "task": telemetry.task_id, **sample_record(sample)})
    yield json.dumps({"type": "interval", **_span(telemetry), **_interval_record(telemetry)})


def _span(telemetry: Telemetry) -> dict[str, Any]:
    return {"task": telemetry.task_id, "start_ns": telemetry.start_ns, "end_ns": telemetry.end_ns}


def _interval_record(telemetry: Telemetry) -> dict[str, Any]:
    c = telemetry.completeness
    return {
        "flows": len(telemetry.flows),
        "samples": len(telemetry.samples),
        "expected": c.expected,
        "kept": c.kept,
        "lost": dict(c.lost),
        "degraded": dict(c.degraded),
        "attributes": dict(telemetry.attributes),
        "steps": dict(telemetry.steps),
        "last": telemetry.last,
    }


def flow_record(flow: Flow) -> dict[str, Any]:
    """What a flow is in JSON. Times in nanoseconds; a histogram is counts by the lower bound of their bucket."""
    return {
        **_ends_record(flow.key),
        "address": flow.address,
        "protocol": flow.protocol,
        "ssl": flow.ssl,
        "connections": flow.connections,
        "figures": {name: _figure_record(figure) for name, figure in flow.figures.items()},
        "counts": dict(flow.counts),
    }


def sample_record(sample: Sample) -> dict[str, Any]:
    """What a sampled exchange is in JSON: times in nanoseconds, `request` and `response` null if not attached."""
    exchange = sample.exchange
    record = {name: getattr(exchange, name) for name in _EXCHANGE}
    return {
        **record,
        **_ends_record(sample.flow),
        "address": sample.address,
        "trace": exchange.trace._asdict() if exchange.trace else None,
        "request": asdict(exchange.request) if exchange.request else None,
        "response": asdict(exchange.response) if exchange.response else None,
    }


_EXCHANGE = ("start_ns", "duration_ns", "protocol", "ssl", "reason", "operation", "subject", "status")


def operation_record(operation: Operation) -> dict[str, Any]:
    """What an operation is in JSON; durations in nanoseconds, sizes in bytes."""
    key = operation.key
    return {
        **_ends_record(key.flow),
        "address": operation.address,
        "protocol": key.protocol,
        "ssl": operation.ssl,
        "class": key.operation_class,
        "operation": key.operation,
        "exchanges": operation.exchanges,
        "requests": operation.requests,
        "errors": operation.errors,
        "statuses": dict(operation.statuses),
        "duration_ns": _distribution_record(operation.durations),
        "request_bytes": _distribution_record(operation.request_sizes),
        "response_bytes": _distribution_record(operation.response_sizes),
        "metrics": {name: _distribution_record(each) for name, each in operation.metrics.items()},
    }


def _distribution_record(values: Distribution) -> dict[str, Any]:
    quantiles = {f"p{share}": round(values.quantile(share / 100)) for share in (50, 90, 99)}
    sums = {"count": values.count, "total": round(values.total), "mean": round(values.mean)}
    return {**sums, **quantiles, "histogram": _counts(values.histogram)}


def _ends_record(key: FlowKey) -> dict[str, Any]:
    return {
        "pid": key.process.pid,
        "process": key.name,
        "role": key.role,
        "transport": key.transport,
        "peer": _peer_record(key.peer),
    }


def _counts(histogram: Histogram | None) -> dict[str, int]:
    """By the lower bound of their bucket."""
    if histogram is None:
        return {}
    pairs = zip(histogram.bounds, histogram.counts, strict=True)
    return {f"{bound:.0f}": count for bound, count in pairs if count}


def _peer_record(peer: Peer) -> dict[str, Any]:
    record: dict[str, Any] = {"label": peer.label, "local": peer.local}
    if peer.process:
        return record | {"pid": peer.process.pid, "process": peer.name}
    return record | {"address": peer.address, "port": peer.port}


def _figure_record(figure: Figure) -> dict[str, Any]:
    return {
        "calls": figure.calls,
        "bytes": figure.bytes,
        "mean_ns": round(figure.mean_ns),
        "timed": figure.timed,
        "histogram": _counts(figure.histogram),
    }
