"""Flows as bytes for the store, and back: compressed JSON.

What an interval saw is read as a whole or not at all, so it is one value of the database.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from typing import Any

from rover_core.model import Figure, Flow, FlowKey, Histogram, Peer, ProcessKey


def pack(flows: Iterable[Flow]) -> bytes:
    return zlib.compress(json.dumps([_flow(flow) for flow in flows]).encode(), 3)


def unpack(packed: bytes) -> list[Flow]:
    """Raises ValueError for what `pack` did not make."""
    try:
        return [_unflow(*each) for each in json.loads(zlib.decompress(packed))]
    except (zlib.error, TypeError) as error:
        raise ValueError(f"not packed flows: {error}") from error


def _flow(flow: Flow) -> list[Any]:
    key = flow.key
    figures = {name: _figure(figure) for name, figure in flow.figures.items()}
    who = [_process(key.process), key.name, key.role, key.transport, _peer(key.peer)]
    return [who, flow.address, flow.connections, figures, dict(flow.counts), flow.protocol, flow.ssl]


def _unflow(
    who: list[Any],
    address: str,
    connections: int,
    figures: dict[str, Any],
    counts: dict[str, int],
    protocol: str = "",
    ssl: bool = False,
) -> Flow:
    process, name, role, transport, (other, *peer) = who
    key = FlowKey(ProcessKey(*process), name, role, transport, Peer(other and ProcessKey(*other), *peer))
    return Flow(
        key, address, connections, {name: _unfigure(*each) for name, each in figures.items()}, counts, protocol, ssl
    )


def _process(key: ProcessKey) -> list[int]:
    return [key.pid, key.start_ticks]


def _peer(peer: Peer) -> list[Any]:
    return [peer.process and _process(peer.process), peer.name, peer.address, peer.port, peer.local]


def _figure(figure: Figure) -> list[Any]:
    histogram = figure.histogram and [figure.histogram.bounds, figure.histogram.counts]
    return [figure.calls, figure.bytes, figure.timed, figure.ns, histogram]


def _unfigure(calls: int, amount: int, timed: int, ns: int, histogram: list[list[Any]] | None) -> Figure:
    return Figure(calls, amount, timed, ns, Histogram(*map(tuple, histogram)) if histogram else None)
