"""Protocols' classifiers: every installed one, compiled for this machine, and what they are tried on."""

import ctypes
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from captures import FOLDER, Flow, captured, flows

from rover_core.api import CLASSIFY_BYTES, WireProtocol
from rover_core.config.loading import load_settings
from rover_core.plugins import PluginManager

Classify = Callable[[bytes], int]

PROTOCOLS = {"http": "http1", "http2": "http2", "mysql": "mysql", "cql": "cql", "mongo": "mongodb", "kafka": "kafka"}
PROTOCOLS["dns"] = "dns"
"""The dissector's names of protocols and ours."""


def installed() -> list[WireProtocol]:
    """Every protocol of every plugin in this environment."""
    manager = PluginManager.discover()
    return manager.protocols(load_settings(manager.sections(), environ={}))


def compiled(protocol: WireProtocol, folder: Path) -> Classify:
    """What the classifier says of a call's first bytes: 0 not this protocol, 1 a request, 2 a response."""
    name = f"{protocol.name}_classify"
    source = folder / f"{name}.c"
    source.write_text(
        f'#include "{protocol.classifier}"\n'
        f"int classify(const unsigned char *head, unsigned int size) {{ return {name}(head, size); }}\n"
    )
    library = folder / f"{name}.so"
    command = ["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(library), str(source)]
    subprocess.run(command, check=True, timeout=60)
    function = ctypes.CDLL(str(library)).classify

    def classify(data: bytes) -> int:
        head = data[:CLASSIFY_BYTES]
        return int(function(head.ljust(CLASSIFY_BYTES, b"\0"), len(head)))

    return classify


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
