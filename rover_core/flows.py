"""Telemetry added up, and as JSON. Floor 1, standard library only."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from rover_core.model import Completeness, Figure, Flow, FlowKey, Peer, Sample, Telemetry

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


def traffic(flow: Flow) -> int:
    """Bytes, both ways."""
    return sum(figure.bytes for figure in flow.figures.values())


def json_lines(telemetry: Telemetry) -> Iterator[str]:
    """A line for each flow, the one with the most bytes first, for each sample, and for the interval."""
    for flow in sorted(telemetry.flows, key=traffic, reverse=True):
        yield json.dumps({"type": "flow", **_span(telemetry), **flow_record(flow)})
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
        "last": telemetry.last,
    }


def flow_record(flow: Flow) -> dict[str, Any]:
    """What a flow is in JSON. Times in nanoseconds; a histogram is counts by the lower bound of their bucket."""
    return {
        **_key_record(flow.key, flow.address),
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
        **_key_record(sample.flow, sample.address),
        "trace": exchange.trace._asdict() if exchange.trace else None,
        "request": asdict(exchange.request) if exchange.request else None,
        "response": asdict(exchange.response) if exchange.response else None,
    }


_EXCHANGE = ("start_ns", "duration_ns", "protocol", "ssl", "reason", "operation", "subject", "status")


def _key_record(key: FlowKey, address: str) -> dict[str, Any]:
    return {
        "pid": key.process.pid,
        "process": key.name,
        "role": key.role,
        "transport": key.transport,
        "peer": _peer_record(key.peer),
        "address": address,
    }


def _peer_record(peer: Peer) -> dict[str, Any]:
    record: dict[str, Any] = {"label": peer.label, "local": peer.local}
    if peer.process:
        return record | {"pid": peer.process.pid, "process": peer.name}
    return record | {"address": peer.address, "port": peer.port}


def _figure_record(figure: Figure) -> dict[str, Any]:
    counts: Mapping[str, int] = {}
    if figure.histogram:
        pairs = zip(figure.histogram.bounds, figure.histogram.counts, strict=True)
        counts = {f"{bound:.0f}": count for bound, count in pairs if count}
    return {
        "calls": figure.calls,
        "bytes": figure.bytes,
        "mean_ns": round(figure.mean_ns),
        "timed": figure.timed,
        "histogram": counts,
    }
