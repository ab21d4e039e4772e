"""Every installed protocol's classifier, natively, on real first bytes of all protocols and on random ones."""

from pathlib import Path

import pytest
from classifying import FOLDER, PROTOCOLS, compiled, installed, random_heads, real_heads

from rover_core.api import WireProtocol

INSTALLED = installed()


def test_there_are_protocols() -> None:
    """Broken: the tests below are about nothing."""
    assert "http1" in {protocol.name for protocol in INSTALLED}


@pytest.fixture(params=INSTALLED, ids=lambda protocol: protocol.name)
def protocol(request: pytest.FixtureRequest) -> WireProtocol:
    found: WireProtocol = request.param
    return found


def test_no_other_protocol_is_taken_for_it(protocol: WireProtocol, tmp_path: Path) -> None:
    """Broken: a connection of another protocol is read as this one, sticks with it, and is never understood."""
    if not FOLDER.exists():
        pytest.skip(f"there is no {FOLDER}")
    classify = compiled(protocol, tmp_path)
    heads = list(real_heads())
    assert {name for name, _ in heads} == set(PROTOCOLS.values())
    assert [(name, head[:16]) for name, head in heads if name != protocol.name and classify(head)] == []


def test_random_bytes_are_not_taken_for_it(protocol: WireProtocol, tmp_path: Path) -> None:
    """Broken: encrypted and unknown connections are read as this protocol."""
    classify = compiled(protocol, tmp_path)
    assert not [head for head in random_heads(50_000) if classify(head)]
