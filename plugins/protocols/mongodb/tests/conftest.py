"""The plugin's protocol and its classifier, compiled for this machine."""

import sys
from pathlib import Path

import pytest
from classifying import Classify, compiled

from rover_core.api import WireProtocol
from rover_mongodb import plugin

sys.path.insert(0, str(Path(__file__).parent))  # mongodb_listening


@pytest.fixture(scope="session")
def protocol() -> WireProtocol:
    (protocol,) = plugin.rover_protocols()
    return protocol


@pytest.fixture(scope="session")
def classify(protocol: WireProtocol, tmp_path_factory: pytest.TempPathFactory) -> Classify:
    return compiled(protocol, tmp_path_factory.mktemp("classifier"))
