"""Captures as a protocol's parser reads them."""

from collections.abc import Iterable

from captures import Flow
from classifying import Classify

from rover_core.api import WireProtocol
from rover_core.wire import Exchange, Limits


def read_all(protocol: WireProtocol, flows: Iterable[Flow], classify: Classify) -> list[Exchange]:
    """Every exchange of captures without gaps. AssertionError where something is lost, or a side is mistaken."""
    found: list[Exchange] = []
    for flow in flows:
        connect = protocol.datagrams if flow.transport == "udp" else protocol.connect
        assert connect is not None
        connection = connect(Limits())
        verdicts = {(piece.direction, classify(piece.data)) for piece in flow.pieces}
        assert verdicts & {(0, 1), (1, 2)}, "not recognised"
        assert not verdicts & {(0, 2), (1, 1)}, "the client is taken for the server"
        for piece in flow.pieces:
            found += connection.feed(piece.direction, piece.data, piece.gap, piece.timestamp_ns)
        found += connection.close()
        assert not connection.losses
    return found
