"""When the plugin is at work, and when it costs nothing."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rover_core.api import Exporter
from rover_core.config.loading import load_settings
from rover_core.config.problems import ConfigurationError
from rover_core.testing import ExporterConformance
from rover_exporter_skywalking import plugin
from rover_exporter_skywalking.backend import Backend
from rover_exporter_skywalking.settings import SECTIONS, BackendSettings, CoreSettings, ReportSettings

# Contract section 7, and `buffer`, which is ours.
KEYS = {
    "core.cluster_name": ("ROVER_CORE_CLUSTER_NAME", ""),
    "core.backend.addr": ("ROVER_BACKEND_ADDR", "localhost:11800"),
    "core.backend.enable_TLS": ("ROVER_BACKEND_ENABLE_TLS", False),
    "core.backend.client_pem_path": ("ROVER_BACKEND_PEM_PATH", ""),
    "core.backend.client_key_path": ("ROVER_BACKEND_KEY_PATH", ""),
    "core.backend.insecure_skip_verify": ("ROVER_BACKEND_INSECURE_SKIP_VERIFY", False),
    "core.backend.ca_pem_path": ("ROVER_BACKEND_CA_PEM_PATH", ""),
    "core.backend.check_period": ("ROVER_BACKEND_CHECK_PERIOD", 5),
    "core.backend.authentication": ("ROVER_BACKEND_AUTHENTICATION", ""),
    "core.backend.buffer": ("ROVER_BACKEND_BUFFER", "16MB"),
    "process_discovery.heartbeat_period": ("ROVER_PROCESS_DISCOVERY_HEARTBEAT_PERIOD", "20s"),
    "process_discovery.properties_report_period": ("ROVER_PROCESS_DISCOVERY_PROPERTIES_REPORT_PERIOD", 10),
}
OTHERS = {bool: "true", int: "7", str: "other:1"}


def value(settings: Any, key: str) -> Any:
    found = settings.tree()
    for part in key.split("."):
        found = found[part]
    return found


@pytest.mark.parametrize("key", KEYS)
def test_keys_defaults_and_variables_are_the_contracts(key: str) -> None:
    """Broken: a deployment written for the Go agent is only half understood."""
    variable, default = KEYS[key]
    assert value(load_settings(SECTIONS, environ={}), key) == default
    other = {"16MB": "1MB", "20s": "5s"}.get(str(default)) or OTHERS[type(default)]
    settings = load_settings(SECTIONS, environ={variable: other})
    assert settings.origins()[key] == f"environment {variable}"
    assert value(settings, key) != default


def test_there_are_no_other_keys() -> None:
    """Broken: a key that nobody documented."""
    models = {"core": CoreSettings, "core.backend": BackendSettings, "process_discovery": ReportSettings}
    assert {f"{path}.{name}" for path, model in models.items() for name in model.model_fields} == set(KEYS)


def test_the_secret_is_not_shown() -> None:
    """Broken: `rover config show` in a bug report gives the password away."""
    settings = load_settings(SECTIONS, environ={"ROVER_BACKEND_AUTHENTICATION": "s3cret"})
    assert "s3cret" not in str(settings.tree())


@pytest.mark.parametrize("address", ["", "oap", "oap:", ":11800", "oap:http", "oap:0", "oap:70000"])
def test_an_address_without_a_port_is_refused(address: str) -> None:
    """Broken: gRPC connects to port 443 of something."""
    with pytest.raises(ConfigurationError, match="expected host:port"):
        load_settings(SECTIONS, overrides={"core.backend.addr": address}, environ={})


def test_it_works_for_a_backend_only_if_one_was_given() -> None:
    """Broken: whoever installs everything has an agent that waits for a backend instead of profiling."""
    alone = load_settings(SECTIONS, environ={})
    assert plugin.rover_exporters(alone) == plugin.rover_task_sources(alone) == []
    given = load_settings(SECTIONS, environ={"ROVER_BACKEND_ADDR": "localhost:11800"})
    (exporter,), (source,) = plugin.rover_exporters(given), plugin.rover_task_sources(given)
    assert exporter.name == source.name == "skywalking"
    assert exporter._connection is source._connection  # type: ignore[attr-defined]
    assert exporter._processes is source._reporter._book  # type: ignore[attr-defined]


def test_without_a_backend_nothing_is_loaded() -> None:
    """Broken: every agent is 25 MB larger for a plugin that it does not use."""
    program = (
        "import sys; from rover_exporter_skywalking import plugin;"
        "from rover_core.config.loading import load_settings;"
        "settings = load_settings(plugin.rover_settings(), environ={});"
        "plugin.rover_exporters(settings); plugin.rover_task_sources(settings); plugin.rover_checks();"
        "print([name for name in ('grpc', 'google.protobuf', 'click', 'rich', 'numpy') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "[]"


def test_profiling_can_be_off() -> None:
    """Broken: an agent that is only to report processes profiles."""
    values = {"ROVER_BACKEND_ADDR": "localhost:1", "ROVER_PROFILING_ACTIVE": "false"}
    assert Backend(load_settings(SECTIONS, environ=values)).source._polling is None


class TestExporter(ExporterConformance):
    """Nobody listens at its address: an exporter is to be as well-behaved then."""

    def make(self, folder: Path) -> Exporter:
        return Backend(load_settings(SECTIONS, environ={"ROVER_BACKEND_ADDR": "localhost:1"})).exporter
