"""A configuration of SkyWalking's Go agent: every key of the contract's section 7, in the form of its own file."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from rover_core.api import SettingsSection
from rover_core.config.contract import KEYS
from rover_core.config.loading import LoadedSettings, load_settings
from rover_core.config.problems import ConfigurationError
from rover_core.config.sections import LoggerSettings, ProfilingSettings, ScannerSettings
from rover_core.plugins import PluginManager

DEFAULTS: dict[str, Any] = {
    "logger.level": "${ROVER_LOGGER_LEVEL:INFO}",
    "core.cluster_name": "${ROVER_CORE_CLUSTER_NAME:}",
    "core.backend.addr": "${ROVER_BACKEND_ADDR:localhost:11800}",
    "core.backend.enable_TLS": "${ROVER_BACKEND_ENABLE_TLS:false}",
    "core.backend.client_pem_path": '${ROVER_BACKEND_PEM_PATH:"client.pem"}',
    "core.backend.client_key_path": '${ROVER_BACKEND_KEY_PATH:"client.key"}',
    "core.backend.insecure_skip_verify": "${ROVER_BACKEND_INSECURE_SKIP_VERIFY:false}",
    "core.backend.ca_pem_path": '${ROVER_BACKEND_CA_PEM_PATH:"ca.pem"}',
    "core.backend.check_period": "${ROVER_BACKEND_CHECK_PERIOD:5}",
    "core.backend.authentication": '${ROVER_BACKEND_AUTHENTICATION:""}',
    "process_discovery.heartbeat_period": "${ROVER_PROCESS_DISCOVERY_HEARTBEAT_PERIOD:20s}",
    "process_discovery.properties_report_period": "${ROVER_PROCESS_DISCOVERY_PROPERTIES_REPORT_PERIOD:10}",
    "process_discovery.kubernetes.active": "${ROVER_PROCESS_DISCOVERY_KUBERNETES_ACTIVE:true}",
    "process_discovery.kubernetes.node_name": "${ROVER_PROCESS_DISCOVERY_KUBERNETES_NODE_NAME:}",
    "process_discovery.kubernetes.namespaces": "${ROVER_PROCESS_DISCOVERY_KUBERNETES_NAMESPACES:}",
    "process_discovery.kubernetes.analyzers": [
        {
            "active": "${ROVER_PROCESS_DISCOVERY_KUBERNETES_ANALYZER_K8S_SERVICE_ACTIVE:true}",
            "filters": ["${ROVER_PROCESS_DISCOVERY_KUBERNETES_ANALYZER_K8S_SERVICE_HAS_SERVICE:.Pod.HasServiceName}"],
            "layer": "${ROVER_PROCESS_DISCOVERY_KUBERNETES_ANALYZER_K8S_SERVICE_LAYER:K8S_SERVICE}",
            "service_name": "${ROVER_PROCESS_DISCOVERY_KUBERNETES_ANALYZER_K8S_SERVICE_K8S_SERVICE_NAME:"
            "{{.Pod.ServiceName}}.{{.Pod.Namespace}}}",
            "instance_name": "${ROVER_PROCESS_DISCOVERY_KUBERNETES_ANALYZER_K8S_SERVICE_INSTANCE_NAME:{{.Pod.Name}}}",
            "process_name": "{{.Process.ExeName}}",
            "labels": "${ROVER_PROCESS_DISCOVERY_KUBERNETES_ANALYZER_K8S_SERVICE_LABLES:k8s-service}",
        }
    ],
    "process_discovery.scanner.period": "${ROVER_PROCESS_DISCOVERY_SCAN_PERIOD:3s}",
    "process_discovery.scanner.mode": "${ROVER_PROCESS_DISCOVERY_SCAN_MODE:AGENT_SENSOR}",
    "process_discovery.scanner.agent.process_status_refresh_period": "1m",
    "process_discovery.scanner.regex": [
        {
            "match_cmd": "${ROVER_PROCESS_DISCOVERY_REGEX_SCANNER_MATCH_CMD:}",
            "layer": "${ROVER_PROCESS_DISCOVERY_REGEX_SCANNER_LAYER:OS_LINUX}",
            "service_name": "${ROVER_PROCESS_DISCOVERY_REGEX_SCANNER_SERVICE_NAME:}",
            "instance_name": '${ROVER_PROCESS_DISCOVERY_REGEX_SCANNER_INSTANCE_NAME:{{.Rover.HostIPV4 "en0"}}}',
            "process_name": "${ROVER_PROCESS_DISCOVERY_REGEX_SCANNER_PROCESS_NAME:{{.Process.ExeName}}}",
            "labels": "${ROVER_PROCESS_DISCOVERY_REGEX_SCANNER_LABELS:}",
        }
    ],
    "profiling.active": "${ROVER_PROFILING_ACTIVE:true}",
    "profiling.check_interval": "${ROVER_PROFILING_CHECK_INTERVAL:10s}",
    "profiling.flush_interval": "${ROVER_PROFILING_FLUSH_INTERVAL:5s}",
    "profiling.task.on_cpu.dump_period": "${ROVER_PROFILING_TASK_ON_CPU_DUMP_PERIOD:9ms}",
    "profiling.task.network.report_interval": "${ROVER_PROFILING_TASK_NETWORK_TOPOLOGY_REPORT_INTERVAL:2s}",
    "profiling.task.network.meter_prefix": "${ROVER_PROFILING_TASK_NETWORK_TOPOLOGY_METER_PREFIX:rover_net_p}",
    "profiling.task.network.protocol_analyze.per_cpu_buffer": "400KB",
    "profiling.task.network.protocol_analyze.parallels": "2",
    "profiling.task.network.protocol_analyze.queue_size": "5000",
    "profiling.task.network.protocol_analyze.sampling.http.default_request_encoding": "UTF-8",
    "profiling.task.network.protocol_analyze.sampling.http.default_response_encoding": "UTF-8",
    "profiling.continuous.meter_prefix": "rover_con_p",
    "profiling.continuous.fetch_interval": "1s",
    "profiling.continuous.check_interval": "5s",
    "profiling.continuous.trigger.execute_duration": "10m",
    "profiling.continuous.trigger.silence_duration": "20m",
    "access_log.active": "${ROVER_ACCESS_LOG_ACTIVE:false}",
    "access_log.exclude_namespaces": "${ROVER_ACCESS_LOG_EXCLUDE_NAMESPACES:istio-system,cert-manager,kube-system}",
    "access_log.exclude_cluster": "${ROVER_ACCESS_LOG_EXCLUDE_CLUSTER:}",
    "access_log.flush.max_count": "10000",
    "access_log.flush.period": "5s",
    "access_log.connection_analyze.per_cpu_buffer": "200KB",
    "access_log.connection_analyze.parse_parallels": "1",
    "access_log.connection_analyze.analyze_parallels": "1",
    "access_log.connection_analyze.queue_size": "2000",
    "access_log.protocol_analyze.per_cpu_buffer": "400KB",
    "access_log.protocol_analyze.parse_parallels": "2",
    "access_log.protocol_analyze.analyze_parallels": "2",
    "access_log.protocol_analyze.queue_size": "5000",
    "pprof.active": "${ROVER_PPROF_ACTIVE:false}",
    "pprof.port": "${ROVER_PPROF_PORT:6060}",
}


def nested(values: dict[str, Any]) -> str:
    tree: dict[str, Any] = {}
    for path, value in values.items():
        *groups, name = path.split(".")
        place = tree
        for group in groups:
            place = place.setdefault(group, {})
        place[name] = value
    return yaml.safe_dump(tree, sort_keys=False)


def load(folder: Path, text: str, sections: list[SettingsSection], **environ: str) -> LoadedSettings:
    file = folder / "rover_configs.yaml"
    file.write_text(text)
    return load_settings(sections, file=file, environ=environ)


def test_the_table_of_keys_is_the_contracts() -> None:
    """Broken: a key of the Go agent is taken for a mistake, or a mistake for a key of the Go agent."""
    assert set(DEFAULTS) == KEYS


def test_it_loads_with_one_warning(tmp_path: Path) -> None:
    """Broken: who comes from the Go agent has to rewrite the file first, or is not told what is not in effect."""
    settings = load(tmp_path, nested(DEFAULTS), [])
    (warning,) = settings.warnings
    ours = {"logger.level", "process_discovery.scanner.period"}
    ours |= {f"profiling.{name}" for name in ("active", "check_interval", "flush_interval")}
    start = f"{tmp_path}/rover_configs.yaml: ignored, since no plugin installed here uses them: "
    assert warning.startswith(start)
    assert set(warning.removeprefix(start).split(", ")) == KEYS - ours
    assert settings.section(LoggerSettings).level == "INFO"
    assert settings.section(ScannerSettings).period == 3 * 10**9
    assert settings.section(ProfilingSettings).active is True


def test_it_loads_with_the_installed_plugins(tmp_path: Path) -> None:
    """Broken: a plugin's model refuses what the Go agent's file has by default."""
    plugins = PluginManager.discover([])
    settings = load(tmp_path, nested(DEFAULTS), plugins.sections())
    assert len(settings.warnings) <= 1
    assert settings.tree()["process_discovery"]["scanner"]["mode"] == ["AGENT_SENSOR"]
    assert settings.tree()["profiling"]["task"]["on_cpu"]["dump_period"] == "9ms"


def test_values_are_read_whatever_their_yaml_type_and_keys_whatever_their_case(tmp_path: Path) -> None:
    """Broken: `active: "true"`, `Active: true` and `ACTIVE: ${X:true}` are not the same."""
    for text in ('profiling: {active: "false"}', "Profiling: {Active: false}", "PROFILING: {ACTIVE: '${X:no}'}"):
        assert load(tmp_path, text, []).section(ProfilingSettings).active is False
    settings = load(tmp_path, "Access_Log: {Flush: {MAX_COUNT: 1}}\nPprof:\ncore: x", [])
    assert settings.warnings[0].endswith(": Access_Log.Flush.MAX_COUNT, Pprof, core")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("access_log: {flush: {perod: 5s}}", "access_log.flush.perod: there is no such key; did you mean"),
        ("acess_log: {flush: {period: 5s}}", "acess_log: there is no such key; did you mean access_log?"),
        ("pprof: {active: true, prt: 1}", "pprof.prt: there is no such key; did you mean pprof.port?"),
        ("process_discovery: {vm: {active: true}}", "process_discovery.vm: there is no such key; known here: "),
        ("access_log.active: true", "access_log.active: there is no such key"),
    ],
)
def test_what_is_nobodys_key_stays_a_mistake(tmp_path: Path, text: str, hint: str) -> None:
    """Broken: a typo below a key that is not built yet goes unnoticed until it is built."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text, [])
    assert hint in str(caught.value)


def test_a_default_in_quotes_is_what_is_between_them(tmp_path: Path) -> None:
    """Broken: the Go agent's own file, `${ROVER_BACKEND_AUTHENTICATION:""}`, sends two quotes to the backend."""
    text = 'plugins: {disabled: [\'${A:""}\', \'${B:"x y"}\', \'${C:"a" "b"}\', \'${D:"é}\']}'
    settings = load(tmp_path, text, [], D='"given"')
    assert settings.tree()["plugins"]["disabled"] == ["", "x y", '"a" "b"', '"given"']
