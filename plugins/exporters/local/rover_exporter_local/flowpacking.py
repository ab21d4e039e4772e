"""What an interval of telemetry saw as bytes for the store, and back: compressed JSON.

It is read as a whole or not at all, so it is one value of the database. Stores of before operations were kept have a
list of flows alone.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from typing import Any

from rover_core.model import (
    Distribution,
    Figure,
    Flow,
    FlowKey,
    Histogram,
    Operation,
    OperationKey,
    Peer,
    ProcessKey,
    Telemetry,
)


def pack(telemetry: Telemetry) -> bytes:
    """Its flows, operations and steps."""
    packed = {
        "flows": list(map(_flow, telemetry.flows)),
        "operations": list(map(_operation, telemetry.operations)),
        "steps": dict(telemetry.steps),
    }
    return zlib.compress(json.dumps(packed).encode(), 3)


def unpack(packed: bytes, into: Telemetry) -> Telemetry:
    """What was packed, with the rest of another. Raises ValueError for what `pack` did not make."""
    try:
        found = json.loads(zlib.decompress(packed))
        if isinstance(found, list):
            found = {"flows": found, "operations": (), "steps": {}}
        flows = tuple(_unflow(*each) for each in found["flows"])
        operations = tuple(_unoperation(*each) for each in found["operations"])
        return replace(into, flows=flows, operations=operations, steps=dict(found["steps"]))
    except (zlib.error, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not packed telemetry: {error}") from error


def _flow(flow: Flow) -> list[Any]:
    figures = {name: _figure(figure) for name, figure in flow.figures.items()}
    return [_key(flow.key), flow.address, flow.connections, figures, dict(flow.counts), flow.protocol, flow.ssl]


def _unflow(
    who: list[Any],
    address: str,
    connections: int,
    figures: dict[str, Any],
    counts: dict[str, int],
    protocol: str = "",
    ssl: bool = False,
) -> Flow:
    known = {name: _unfigure(*each) for name, each in figures.items()}
    return Flow(_unkey(*who), address, connections, known, counts, protocol, ssl)


def _operation(operation: Operation) -> list[Any]:
    key = operation.key
    return [
        [_key(key.flow), key.protocol, key.operation_class, key.operation],
        [operation.label, operation.address, operation.exchanges, operation.requests, operation.errors],
        dict(operation.statuses),
        list(map(_values, (operation.durations, operation.request_sizes, operation.response_sizes))),
        {name: _values(each) for name, each in operation.metrics.items()},
        operation.ssl,
    ]


def _unoperation(
    key: list[Any],
    facts: list[Any],
    statuses: dict[str, int],
    values: list[Any],
    metrics: dict[str, Any],
    ssl: bool = False,
) -> Operation:
    who, protocol, kind, name = key
    durations, asked, answered = (_unvalues(*each) for each in values)
    own = {name: _unvalues(*each) for name, each in metrics.items()}
    label, address, exchanges, requests, errors = facts
    place = OperationKey(_unkey(*who), protocol, kind, name)
    return Operation(
        place, label, address, exchanges, requests, errors, statuses, durations, asked, answered, own, ssl
    )


def _key(key: FlowKey) -> list[Any]:
    return [_process(key.process), key.name, key.role, key.transport, _peer(key.peer)]


def _unkey(process: list[int], name: str, role: str, transport: str, peer: list[Any]) -> FlowKey:
    other, *where = peer
    return FlowKey(ProcessKey(*process), name, role, transport, Peer(other and ProcessKey(*other), *where))


def _process(key: ProcessKey) -> list[int]:
    return [key.pid, key.start_ticks]


def _peer(peer: Peer) -> list[Any]:
    return [peer.process and _process(peer.process), peer.name, peer.address, peer.port, peer.local]


def _figure(figure: Figure) -> list[Any]:
    return [figure.calls, figure.bytes, figure.timed, figure.ns, _buckets(figure.histogram)]


def _unfigure(calls: int, amount: int, timed: int, ns: int, histogram: list[list[Any]] | None) -> Figure:
    return Figure(calls, amount, timed, ns, _unbuckets(histogram))


def _values(values: Distribution) -> list[Any]:
    return [values.count, values.total, _buckets(values.histogram)]


def _unvalues(count: int, total: int, histogram: list[list[Any]] | None) -> Distribution:
    return Distribution(count, total, _unbuckets(histogram))


def _buckets(histogram: Histogram | None) -> list[Any] | None:
    return [histogram.bounds, histogram.counts] if histogram else None


def _unbuckets(histogram: list[list[Any]] | None) -> Histogram | None:
    return Histogram(*map(tuple, histogram)) if histogram else None
