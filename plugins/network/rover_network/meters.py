"""Flows as a SkyWalking backend takes them: names, labels, units and averages of contract sections 5.1 to 5.3."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from rover_core.model import Entity, Figure, Flow, FlowKey, Histogram, Meter, ProcessKey
from rover_network.rows import BUCKETS_NS

EntitiesOf = Callable[[ProcessKey], Sequence[Entity]]
_NS_IN_US = 1000
_BOUNDS_US = tuple(bound / _NS_IN_US for bound in BUCKETS_NS)
_COUNTS = {"retransmits": "retransmit", "drops": "drop"}
Labels = tuple[tuple[str, str | Entity], ...]


def make_meters(flows: Iterable[Flow], prefix: str, entities_of: EntitiesOf) -> list[Meter]:
    """One set for each entity of each process; none of processes without, and of flows whose other end is unknown."""
    totals: dict[tuple[Entity, Labels], Flow] = {}
    for flow in flows:
        for entity in entities_of(flow.key.process):
            labels = labels_of(flow.key, flow.address, flow.protocol, flow.ssl, entity, entities_of)
            if labels:
                known = totals.get((entity, labels))
                totals[entity, labels] = known + flow if known else flow
    return [
        Meter(entity, f"{prefix}_{flow.key.role}_{name}", labels, value)
        for (entity, labels), flow in totals.items()
        for name, value in _values(flow)
    ]


def labels_of(
    key: FlowKey, address: str, protocol: str, ssl: bool, entity: Entity, entities_of: EntitiesOf
) -> Labels:
    """Contract section 5.3; none if nothing is known of the other end. protocol: its label."""
    role = key.role
    other = "server" if role == "client" else "client"
    peer = _peer(key, address, entity, entities_of)
    if peer is None:
        return ()
    name, value = peer
    return (
        (f"{role}_process_id", entity),
        (f"{other}_{name}", value),
        ("side", role),
        ("protocol", protocol or "unknown"),
        ("is_ssl", "true" if ssl else "false"),
    )


def _peer(key: FlowKey, address: str, entity: Entity, entities_of: EntitiesOf) -> tuple[str, str | Entity] | None:
    """A process of the same service and instance, or that it is local, or where it is; None if nothing is known."""
    if other := peer_entity(key, entity, entities_of):
        return "process_id", other
    if key.peer.local:
        return "local", "true"
    return ("address", address) if address else None


def peer_entity(key: FlowKey, entity: Entity, entities_of: EntitiesOf) -> Entity | None:
    """The other end, if it is a process of the same service and instance."""
    process = key.peer.process
    others = entities_of(process) if process else ()
    same = (other for other in others if (other.service, other.instance) == (entity.service, entity.instance))
    return next(same, None)


def _values(flow: Flow) -> Iterator[tuple[str, float | Histogram]]:
    for base, figure in flow.figures.items():
        yield from _rtt(figure) if base == "write_rtt" else _calls(base, figure)
    for name, base in _COUNTS.items():
        if count := flow.counts.get(name):
            yield f"{base}_counts_counter", float(count)


def _calls(base: str, figure: Figure) -> Iterator[tuple[str, float | Histogram]]:
    if figure.calls:
        yield f"{base}_counts_counter", float(figure.calls)
    if figure.bytes:
        yield f"{base}_bytes_counter", float(figure.bytes)
    if figure.ns:
        yield f"{base}_exe_time_counter", figure.mean_ns
    if figure.histogram:
        yield f"{base}_exe_time_histogram", figure.histogram


def _rtt(figure: Figure) -> Iterator[tuple[str, float | Histogram]]:
    """In microseconds, where all else is in nanoseconds."""
    if figure.histogram:
        yield "write_rtt_counts_counter", float(figure.calls)
        if figure.ns:
            yield "write_rtt_exe_time_counter", figure.mean_ns / _NS_IN_US
        yield "write_rtt_histogram", Histogram(_BOUNDS_US, figure.histogram.counts)
