"""Telemetry added up, and as JSON. Floor 1, standard library only."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, BinaryIO

from rover_core.model import Completeness, Figure, Flow, FlowKey, Peer, Telemetry

_ROOM = 8192


class TelemetryMerger:
    """Adds up telemetry of one task: flows of one key become one. Meters, which backends add up, are left out.

    room: flows to keep at most; beyond it the half with the fewest bytes is let go, and counted in `let_go`.
    """

    def __init__(self, room: int = _ROOM) -> None:
        self._room = room
        self._flows: dict[FlowKey, Flow] = {}
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
            completeness=self._completeness,
            attributes=self._attributes,
        )


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
    """A line for each flow, the one with the most bytes first, and one for the interval with its completeness."""
    for flow in sorted(telemetry.flows, key=traffic, reverse=True):
        yield json.dumps({"type": "flow", **_span(telemetry), **flow_record(flow)})
    yield json.dumps({"type": "interval", **_span(telemetry), **_interval_record(telemetry)})


def _span(telemetry: Telemetry) -> dict[str, Any]:
    return {"task": telemetry.task_id, "start_ns": telemetry.start_ns, "end_ns": telemetry.end_ns}


def _interval_record(telemetry: Telemetry) -> dict[str, Any]:
    c = telemetry.completeness
    return {
        "flows": len(telemetry.flows),
        "expected": c.expected,
        "kept": c.kept,
        "lost": dict(c.lost),
        "degraded": dict(c.degraded),
        "attributes": dict(telemetry.attributes),
        "last": telemetry.last,
    }


def flow_record(flow: Flow) -> dict[str, Any]:
    """What a flow is in JSON. Times in nanoseconds; a histogram is counts by the lower bound of their bucket."""
    key = flow.key
    return {
        "pid": key.process.pid,
        "process": key.name,
        "role": key.role,
        "transport": key.transport,
        "peer": _peer_record(key.peer),
        "address": flow.address,
        "connections": flow.connections,
        "figures": {name: _figure_record(figure) for name, figure in flow.figures.items()},
        "counts": dict(flow.counts),
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
