"""Flows as a graph: processes and remote ends, and one edge between two of them, whoever told of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from rover_core.model import Figure, Flow, Peer, ProcessKey


class Kind(IntEnum):
    """What a node stands for. The page's script knows them by number."""

    PROCESS = 0
    REMOTE = 1
    LOCAL = 2  # an end on this host whose process is not known


Identity = tuple[Kind, object, str]
"""Tells nodes apart: processes by key and name, ends by address and port."""


@dataclass(slots=True)
class Node:
    """within: the names of those that it stands for, if it stands for several."""

    kind: Kind
    name: str
    detail: str = ""
    within: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Edge:
    """What a client and a server exchanged: positions in `Graph.nodes`. to_server, to_client: bytes.

    Both ends tell of the same bytes and connections where both are watched: the greater number stands. Times and
    counts are of either end, added up.
    """

    client: int
    server: int
    to_server: int = 0
    to_client: int = 0
    calls: int = 0
    connections: int = 0
    transports: set[str] = field(default_factory=set)
    figures: dict[str, Figure] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Both ways."""
        return self.to_server + self.to_client

    def take(self, other: Edge) -> None:
        """Add what went between other ends that this edge stands for too."""
        self.to_server += other.to_server
        self.to_client += other.to_client
        self.calls += other.calls
        self.connections += other.connections
        self.transports |= other.transports
        _add_figures(self.figures, other.figures)
        _add_counts(self.counts, other.counts)


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes and edges in the order in which they were first seen."""

    nodes: list[Node]
    edges: list[Edge]


@dataclass(slots=True)
class _Side:
    """What one end of a pair tells: bytes that it sent and received, and the rest."""

    sent: int = 0
    received: int = 0
    calls: int = 0
    connections: int = 0


def make_graph(flows: Iterable[Flow]) -> Graph:
    """Every process and every end is a node of its own. Empty for no flows."""
    numbers: dict[Identity, int] = {}
    nodes: list[Node] = []
    edges: dict[tuple[int, int], Edge] = {}
    sides: dict[tuple[int, int, str], _Side] = {}
    for flow in flows:
        mine = _number(_process(flow.key.process, flow.key.name), numbers, nodes)
        other = _number(_peer(flow.key.peer), numbers, nodes)
        role = "server" if flow.key.role == "server" else "client"
        pair = (other, mine) if role == "server" else (mine, other)
        edge = edges.setdefault(pair, Edge(*pair))
        edge.transports |= {flow.key.transport, "tls"} if flow.ssl else {flow.key.transport}
        _add_figures(edge.figures, flow.figures)
        _add_counts(edge.counts, flow.counts)
        _tell(sides.setdefault((*pair, role), _Side()), flow)
    for pair, edge in edges.items():
        client, server = (sides.get((*pair, role), _Side()) for role in ("client", "server"))
        edge.to_server, edge.to_client = max(client.sent, server.received), max(client.received, server.sent)
        edge.calls = client.calls + server.calls
        edge.connections = max(client.connections, server.connections)
    return Graph(nodes, list(edges.values()))


def _tell(side: _Side, flow: Flow) -> None:
    write, read = flow.figures.get("write", Figure()), flow.figures.get("read", Figure())
    side.sent += write.bytes
    side.received += read.bytes
    side.calls += write.calls + read.calls
    side.connections += flow.connections


def _number(found: tuple[Identity, Node], numbers: dict[Identity, int], nodes: list[Node]) -> int:
    identity, node = found
    if identity not in numbers:
        numbers[identity] = len(nodes)
        nodes.append(node)
    return numbers[identity]


def _process(key: ProcessKey, name: str) -> tuple[Identity, Node]:
    return (Kind.PROCESS, key, name), Node(Kind.PROCESS, name or "process", f"pid {key.pid}")


def _peer(peer: Peer) -> tuple[Identity, Node]:
    if peer.process:
        return _process(peer.process, peer.name)
    kind = Kind.LOCAL if peer.local else Kind.REMOTE
    return (kind, peer.address, str(peer.port)), Node(kind, peer.label, f"port {peer.port}" if peer.port else "")


def _add_figures(into: dict[str, Figure], more: Mapping[str, Figure]) -> None:
    for name, figure in more.items():
        into[name] = into[name] + figure if name in into else figure


def _add_counts(into: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        into[name] = into.get(name, 0) + count
