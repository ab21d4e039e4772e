"""Who exchanges what with whom: flows, and the operations that were asked for over them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rover_core.model.figures import Distribution, Figure
from rover_core.model.processes import ProcessKey


def endpoint_text(address: str, port: int) -> str:
    """`10.0.0.1:80`, `[::1]:53`."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of what a process exchanges with somebody.

    process, name: where it is a process that is watched too. address: of the other end, without port, "" where it has
    none; port: 0 where ports are not told apart. local: it is on this host.
    """

    process: ProcessKey | None = None
    name: str = ""
    address: str = ""
    port: int = 0
    local: bool = False

    @property
    def label(self) -> str:
        """What a person reads: `nginx (4711)`, `10.0.0.1:80`, `[::1]:53`, `10.0.0.1`."""
        if self.process:
            return f"{self.name or 'process'} ({self.process.pid})"
        if self.port:
            return endpoint_text(self.address, self.port)
        return self.address or ("this host" if self.local else "unknown")


@dataclass(frozen=True, slots=True)
class FlowKey:
    """Who exchanges something with whom, as what. role: `client`, `server`; transport: `tcp`, `udp`, `unix`."""

    process: ProcessKey
    name: str
    role: str
    transport: str
    peer: Peer


@dataclass(frozen=True, slots=True)
class Flow:
    """What went on between a process and one peer, over however many connections, as the process's side saw it.

    address: of the other end, with its port, as the last connection had it: `10.0.0.1:80`, "" where there is none.
    figures: by name (`read`, `write`, `connect`, ...). counts: what has neither bytes nor a time (`retransmits`).
    protocol: the label of what is spoken (`http`), "" if that is not known. ssl: whether some of it is over TLS.
    """

    key: FlowKey
    address: str
    connections: int
    figures: Mapping[str, Figure]
    counts: Mapping[str, int]
    protocol: str = ""
    ssl: bool = False

    def __add__(self, other: "Flow") -> "Flow":
        """Of the same key, at another time. connections: the greater number, since some may be the same."""
        names, counts = self.figures.keys() | other.figures.keys(), self.counts.keys() | other.counts.keys()
        return Flow(
            self.key,
            other.address or self.address,
            max(self.connections, other.connections),
            {name: self.figures.get(name, Figure()) + other.figures.get(name, Figure()) for name in names},
            {name: self.counts.get(name, 0) + other.counts.get(name, 0) for name in counts},
            self.protocol or other.protocol,
            self.ssl or other.ssl,
        )


@dataclass(frozen=True, slots=True)
class OperationKey:
    """What was asked of whom. protocol: its name (`http1`); operation_class, operation: `GET`, `GET /users/{}`."""

    flow: FlowKey
    protocol: str
    operation_class: str
    operation: str


@dataclass(frozen=True, slots=True)
class Operation:
    """All exchanges of one operation between a process and one peer.

    label: the protocol's in metrics (`http`). address: as of a flow. exchanges: requests that were seen, and
    responses whose requests were not; errors: as the protocol means them. statuses: exchanges by status, "" without a
    response. durations: ns, of those whose both halves were seen. request_sizes, response_sizes: bytes. metrics: the
    protocol's own, by name. ssl: whether some of them were over TLS.
    """

    key: OperationKey
    label: str
    address: str
    exchanges: int
    requests: int
    errors: int
    statuses: Mapping[str, int]
    durations: Distribution
    request_sizes: Distribution
    response_sizes: Distribution
    metrics: Mapping[str, Distribution] = field(default_factory=dict)
    ssl: bool = False

    def __add__(self, other: "Operation") -> "Operation":
        """Of the same key, at another time; the key may differ where operations are put together."""
        statuses, metrics = self.statuses.keys() | other.statuses.keys(), self.metrics.keys() | other.metrics.keys()
        none = Distribution()
        return Operation(
            self.key,
            self.label,
            other.address or self.address,
            self.exchanges + other.exchanges,
            self.requests + other.requests,
            self.errors + other.errors,
            {name: self.statuses.get(name, 0) + other.statuses.get(name, 0) for name in sorted(statuses)},
            self.durations + other.durations,
            self.request_sizes + other.request_sizes,
            self.response_sizes + other.response_sizes,
            {name: self.metrics.get(name, none) + other.metrics.get(name, none) for name in sorted(metrics)},
            self.ssl or other.ssl,
        )
