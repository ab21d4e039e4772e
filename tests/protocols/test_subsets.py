"""Which of the installed protocols are read: all but those that are disabled, or those that are named."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from classifying import installed

from rover_core.api import WireProtocol
from rover_core.config.loading import load_settings
from rover_core.errors import UsageError
from rover_core.plugins import DISABLED_VARIABLE, PluginManager
from rover_network.choosing import choose
from rover_network.settings import ProtocolAnalyzeSettings

NAMES = [protocol.name for protocol in installed()]


def names(protocols: Sequence[WireProtocol]) -> list[str]:
    return [protocol.name for protocol in protocols]


@pytest.mark.parametrize("name", NAMES)
def test_a_disabled_plugin_brings_no_protocol(name: str) -> None:
    """Broken: a parser that makes trouble cannot be switched off, or takes another with it."""
    manager = PluginManager.discover(environ={DISABLED_VARIABLE: name})
    found = names(manager.protocols(load_settings(manager.sections(), environ={})))
    assert found == [each for each in NAMES if each != name]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("[http1, dns]", {"http1", "dns"}), ("mysql", {"mysql"}), ("[]", set(NAMES)), ("cql, kafka", {"cql", "kafka"})],
)
def test_those_named_in_the_configuration_are_read(tmp_path: Path, text: str, expected: set[str]) -> None:
    """Broken: who wants two protocols pays for all, or gets none."""
    file = tmp_path / "rover.yaml"
    file.write_text(f"profiling:\n  task:\n    network:\n      protocol_analyze:\n        protocols: {text}\n")
    settings = load_settings(PluginManager.discover(()).sections(), file=file, environ={})
    chosen = choose(installed(), settings.section(ProtocolAnalyzeSettings).protocols)
    assert set(names(chosen)) == expected


def test_a_protocol_that_is_not_there_is_said_with_those_that_are() -> None:
    """Broken: a typo reads nothing, silently."""
    with pytest.raises(UsageError, match=r"htp cannot be enabled: no plugin brings it. Installed: cql, dns"):
        choose(installed(), ("http1", "htp"))
