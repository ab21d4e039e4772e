"""Protocols' classifiers: every installed one, and what they are tried on."""

import random
from collections.abc import Iterator

from captures import FOLDER, Flow, captured, flows

from rover_core.api import CLASSIFY_BYTES, WireProtocol
from rover_core.config.loading import load_settings
from rover_core.plugins import PluginManager
from rover_core.testing import Classify, compiled

PROTOCOLS = {"http": "http1", "http2": "http2", "mysql": "mysql", "cql": "cql", "mongo": "mongodb", "kafka": "kafka"}
PROTOCOLS["dns"] = "dns"
"""The dissector's names of protocols and ours."""


def installed() -> list[WireProtocol]:
    """Every protocol of every plugin in this environment."""
    manager = PluginManager.discover()
    return manager.protocols(load_settings(manager.sections(), environ={}))


def directed(flow: Flow, classify: Classify) -> Flow | None:
    """The flow with the client that the classifier says; None if nothing in it is of its protocol."""
    for piece in flow.pieces:
        if verdict := classify(piece.data):
            return flow if (verdict == 1) == (piece.direction == 0) else flow.turned()
    return None


def real_heads() -> Iterator[tuple[str, bytes]]:
    """What packets of the published captures begin with, and the protocol that an independent dissector found there.

    Only of connections in which it found exactly one.
    """
    for name in PROTOCOLS:
        for capture in captured(name):
            found = {(each["transport"], each["stream"]) for each in capture.messages if each["proto"] == name}
            other = {(each["transport"], each["stream"]) for each in capture.messages if each["proto"] != name}
            for flow in flows(capture.file):
                if (flow.transport, flow.index) in found - other:
                    yield from ((PROTOCOLS[name], piece.data) for piece in flow.pieces if piece.data)


def random_heads(count: int) -> Iterator[bytes]:
    dice = random.Random(count)
    return (dice.randbytes(dice.randint(1, CLASSIFY_BYTES)) for _ in range(count))


__all__ = ["FOLDER", "PROTOCOLS", "Classify", "compiled", "directed", "installed", "random_heads", "real_heads"]
