"""Layers, names, lines and errors of the settings tree."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import BaseModel

from rover_core.api import SettingsSection
from rover_core.config import CommaList, Duration, Env, MinDuration, Size, parse_duration
from rover_core.config.loading import LoadedSettings, disabled_plugins, load_settings
from rover_core.config.problems import ConfigurationError
from rover_core.config.sections import LoggerSettings, PipelineSettings, ProfilingSettings, ScannerSettings


class OnCpu(BaseModel):
    dump_period: Annotated[Duration, MinDuration("1ms")] = parse_duration("9ms")


class Http(BaseModel):
    default_request_encoding: str = "UTF-8"


class Network(BaseModel):
    http: Http = Http()
    per_cpu_buffer: Size = 409_600
    enable_TLS: bool = False  # noqa: N815 - the contract's spelling
    addr: Annotated[str, Env("ROVER_BACKEND_ADDR")] = "localhost:11800"
    hosts: CommaList = ()


class Analyzer(BaseModel):
    service_name: str
    active: bool = True
    filters: list[str] = []


class Analyzers(BaseModel):
    analyzers: list[Analyzer] = []
    labels: dict[str, str] = {}


SECTIONS = [
    SettingsSection("profiling.task.on_cpu", OnCpu),
    SettingsSection("profiling.task.network", Network),
    SettingsSection("process_discovery.kubernetes", Analyzers),
]


def load(
    tmp_path: Path, text: str = "", environ: Mapping[str, str] | None = None, **overrides: Any
) -> LoadedSettings:
    file = tmp_path / "rover.yaml"
    file.write_text(text)
    return load_settings(SECTIONS, file=file, environ=environ or {}, overrides=overrides)


def problems(tmp_path: Path, text: str, environ: Mapping[str, str] | None = None, **overrides: Any) -> list[str]:
    """The problems without the folder in front of the file's name."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text, environ, **overrides)
    assert caught.value.exit_status == 2
    return [problem.replace(f"{tmp_path}/", "") for problem in caught.value.problems]


def test_defaults_are_the_contracts() -> None:
    """Broken: without any configuration the agent does not behave as documented."""
    settings = load_settings(SECTIONS, environ={})
    assert settings.section(OnCpu).dump_period == 9_000_000
    assert settings.section(LoggerSettings).level == "INFO"
    assert settings.section(ProfilingSettings).flush_interval == 5_000_000_000
    assert settings.section(ScannerSettings).period == 3_000_000_000
    assert settings.section(PipelineSettings).queue_size == 64
    assert set(settings.origins().values()) == {"default"}
    with pytest.raises(KeyError):
        settings.section(Http)


def test_command_line_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    """Broken: an operator's override has no effect, or one that nobody asked for has."""
    text = "profiling: {flush_interval: 1s, task: {on_cpu: {dump_period: 2ms}}}\nlogger: {level: error}"
    environ = {"ROVER_PROFILING_TASK_ON_CPU_DUMP_PERIOD": "3ms", "ROVER_LOGGER_LEVEL": "debug"}
    settings = load(tmp_path, text, environ, **{"logger.level": "warn"})
    assert settings.section(ProfilingSettings).flush_interval == 10**9
    assert settings.section(OnCpu).dump_period == 3 * 10**6
    assert settings.section(LoggerSettings).level == "WARNING"
    origins = settings.origins()
    assert origins["profiling.flush_interval"] == "rover.yaml:1"
    assert origins["profiling.task.on_cpu.dump_period"] == "environment ROVER_PROFILING_TASK_ON_CPU_DUMP_PERIOD"
    assert origins["logger.level"] == "command line"
    assert origins["pipeline.queue_size"] == "default"


def test_environment_names_follow_the_path_unless_the_field_says_otherwise() -> None:
    """Broken: a variable of the contract is ignored."""
    environ = {
        "ROVER_BACKEND_ADDR": "oap:11800",
        "ROVER_PROFILING_TASK_NETWORK_HTTP_DEFAULT_REQUEST_ENCODING": "latin-1",
        "ROVER_PROCESS_DISCOVERY_SCAN_PERIOD": "1s",
        "ROVER_PROFILING_TASK_NETWORK_HOSTS": "a,b",
        "ROVER_LOGGER_LEVEL": "",
    }
    settings = load_settings(SECTIONS, environ=environ)
    network = settings.section(Network)
    assert (network.addr, network.http.default_request_encoding, network.hosts) == (
        "oap:11800",
        "latin-1",
        ("a", "b"),
    )
    assert settings.section(ScannerSettings).period == 10**9
    assert settings.section(LoggerSettings).level == "INFO", "an empty variable counts as not set"


def test_a_misspelt_variable_is_pointed_out_and_others_are_not() -> None:
    """Broken: a typo in a deployment's environment goes unnoticed, or Kubernetes' own variables cause noise."""
    environ = {
        "ROVER_PROFILING_FLUSH_INTERVALL": "1s",
        "ROVER_SERVICE_HOST": "::1",
        "ROVER_HOST_PROC_MAPPING": "/host",
    }
    (warning,) = load_settings(SECTIONS, environ=environ).warnings
    assert warning == (
        "environment ROVER_PROFILING_FLUSH_INTERVALL: no setting has this variable; "
        "did you mean ROVER_PROFILING_FLUSH_INTERVAL?"
    )


PLACEHOLDERS = """
profiling:
  active: ${ROVER_ACTIVE:false}
  standalone: ["${FIRST:ON_CPU}", '${SECOND:OFF_CPU}']
process_discovery:
  kubernetes:
    analyzers:
      - service_name: '${NAME:{{.Pod.LabelValue "a,b" ""}}.{{.Pod.Namespace}}}'
        active: ${ACTIVE:true}
        filters: ["${FILTER:}", "x ${NOT:whole} y"]
    labels: {Zone: "${ZONE:eu}"}
"""


def test_placeholders_take_the_variable_or_the_default(tmp_path: Path) -> None:
    """Broken: a file of upstream's form is read wrongly in lists, in maps or with templates in it."""
    settings = load(tmp_path, PLACEHOLDERS, {"SECOND": "NETWORK", "ACTIVE": "", "ZONE": "us"})
    profiling, found = settings.section(ProfilingSettings), settings.section(Analyzers)
    assert (profiling.active, profiling.standalone) == (False, ("ON_CPU", "NETWORK"))
    (analyzer,) = found.analyzers
    assert analyzer.service_name == '{{.Pod.LabelValue "a,b" ""}}.{{.Pod.Namespace}}'
    assert (analyzer.active, analyzer.filters) == (True, ["", "x ${NOT:whole} y"])
    assert found.labels == {"Zone": "us"}, "keys of a free map keep their case"


def test_keys_are_case_insensitive(tmp_path: Path) -> None:
    """Broken: the contract's enable_TLS cannot be written enable_tls."""
    settings = load(tmp_path, "Profiling: {TASK: {network: {enable_tls: 'true'}}}")
    assert settings.section(Network).enable_TLS is True


@pytest.mark.parametrize("text", ["", "# nothing\n", "profiling:\n", "---\n"])
def test_empty_files_and_empty_sections_are_fine(tmp_path: Path, text: str) -> None:
    """Broken: a section whose keys are all commented out is an error."""
    assert load(tmp_path, text).section(ProfilingSettings).active is True


FAULTY = """
profiling:
  flush_interval: 5 apples
  check_intervall: 5s
  active: perhaps
  task:
    on_cpu: 3
    network:
      http: {default_request_encodin: x}
pipeline:
  queue_size: 0
process_discovery:
  kubernetes:
    analyzers:
      - service_nam: a
flush_interval: 1s
logger:
  level:
"""


def test_all_problems_are_reported_together_with_line_key_value_and_expectation(tmp_path: Path) -> None:
    """Broken: people repair a file one error a time, or search the line themselves."""
    assert problems(tmp_path, FAULTY) == [
        "rover.yaml line 3: profiling.flush_interval: '5 apples' is not a duration; "
        "expected a number with a unit, for example 10s, 9ms, 1m30s",
        "rover.yaml line 4: profiling.check_intervall: there is no such key; did you mean profiling.check_interval?",
        "rover.yaml line 5: profiling.active: 'perhaps' is not true or false",
        "rover.yaml line 7: profiling.task.on_cpu: this must be a map of settings",
        "rover.yaml line 9: profiling.task.network.http.default_request_encodin: there is no such key; "
        "did you mean profiling.task.network.http.default_request_encoding?",
        "rover.yaml line 11: pipeline.queue_size: '0' should be greater than or equal to 1",
        "rover.yaml line 15: process_discovery.kubernetes.analyzers[0].service_nam: there is no such key; "
        "did you mean process_discovery.kubernetes.analyzers[0].service_name?",
        "rover.yaml line 15: process_discovery.kubernetes.analyzers[0].service_name: this has no default; "
        "it must be set",
        "rover.yaml line 16: flush_interval: there is no such key; did you mean profiling.flush_interval?",
        "rover.yaml line 18: logger.level: this has no value; leave the key out for the default",
    ]


def test_a_dotted_key_in_a_file_is_explained(tmp_path: Path) -> None:
    """Broken: who writes the command line's spelling into the file is told that the key does not exist."""
    (problem,) = problems(tmp_path, "profiling.flush_interval: 2s")
    assert problem == (
        "rover.yaml line 1: profiling.flush_interval: in a file keys are nested, not dotted: "
        "profiling: {flush_interval: ...}"
    )


def test_problems_of_environment_and_command_line_name_their_source(tmp_path: Path) -> None:
    """Broken: the file is blamed for what a variable or an option did."""
    environ = {"ROVER_PROFILING_FLUSH_INTERVAL": "5", "LEVEL": "loud"}
    overrides = {"pipeline.queue_size": "many", "profiling": "x", "profiling.actve": "1"}
    found = problems(tmp_path, "logger: {level: '${LEVEL:INFO}'}", environ, **overrides)
    assert found == [
        "command line: profiling.actve: there is no such key; did you mean profiling.active?",
        "command line: profiling: this is a group of settings; set one of its keys",
        "environment ROVER_PROFILING_FLUSH_INTERVAL: profiling.flush_interval: '5' has no unit; "
        "expected a number with a unit, for example 10s, 9ms, 1m30s",
        "command line: pipeline.queue_size: 'many' is not a whole number",
        "rover.yaml line 1, environment LEVEL: logger.level: 'LOUD' is not one of "
        "'DEBUG', 'INFO', 'WARNING' or 'ERROR'",
    ]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a: b: c", "rover.yaml line 1: this is not YAML: mapping values are not allowed here"),
        (b"- a\n- b\n", "rover.yaml: holds a list, not a map of settings"),
        (b"hello", "rover.yaml: holds a single value, not a map of settings"),
        (b"\x7fELF\x02\xff\xfe", "rover.yaml: is not text in UTF-8; this is not a YAML file"),
        (b"a: \x01", "rover.yaml: is not YAML:"),
        (b"logger: {level: INFO, LEVEL: DEBUG}", "rover.yaml line 1: the key LEVEL is already on line 1"),
        (b"logger:\n  level: INFO\n  level: DEBUG", "rover.yaml line 3: the key level is already on line 2"),
        (
            b"logger: !!python/object/apply:os.system ['true']",
            "line 1: the tag !!python/object/apply:os.system is not",
        ),
        (b"logger: &a\n  x: *a", "rover.yaml line 2: too many or too deeply nested values"),
        (b"? [a]\n: b", "rover.yaml line 1: a key must be a plain word"),
        (b"[" * 5000, "rover.yaml: is nested too deeply"),
        (b"#" * (1 << 20) + b"#", "rover.yaml: is larger than 1 MiB"),
        (b"a: 1\n---\nb: 2", "rover.yaml line 2: this is not YAML: but found another document"),
    ],
)
def test_what_is_no_configuration_is_one_clear_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    """Broken: a traceback of the YAML library, or code of strangers run."""
    file = tmp_path / "rover.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(SECTIONS, file=file, environ={})
    (problem,) = caught.value.problems
    assert sentence in problem


def test_files_that_are_not_there_are_one_clear_sentence(tmp_path: Path) -> None:
    """Broken: a wrong path is a traceback."""
    for file, sentence in ((tmp_path / "no.yaml", "there is no such file"), (tmp_path, "is a directory, not a file")):
        with pytest.raises(ConfigurationError, match=f"^{file}: {sentence}$"):
            load_settings([], file=file, environ={})


def test_aliases_that_multiply_are_stopped(tmp_path: Path) -> None:
    """Broken: nine lines of YAML take all memory (the billion laughs)."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "too many or too deeply nested values" in problems(tmp_path, "\n".join(lines))[0]


class Neighbour(BaseModel):
    heartbeat_period: Duration = parse_duration("20s")


class Below(BaseModel):
    mode: CommaList = ()


def test_plugins_may_share_a_section(tmp_path: Path) -> None:
    """Broken: of the plugins whose settings are under process_discovery only one can be installed."""
    file = tmp_path / "rover.yaml"
    file.write_text("process_discovery: {heartbeat_period: 1s, scanner: {mode: 'A,B', period: 2s}}")
    sections = [
        SettingsSection("process_discovery", Neighbour),
        SettingsSection("process_discovery.scanner", Below),
        SettingsSection("process_discovery.kubernetes", Analyzers),
        SettingsSection("process_discovery", OnCpu),
    ]
    for order in (sections, sections[::-1]):
        settings = load_settings(order, file=file, environ={"ROVER_PROCESS_DISCOVERY_DUMP_PERIOD": "2ms"})
        assert settings.section(Neighbour).heartbeat_period == 10**9
        assert settings.section(Below).mode == ("A", "B")
        assert settings.section(ScannerSettings).period == 2 * 10**9
        assert settings.section(OnCpu).dump_period == 2 * 10**6
        assert settings.section(Analyzers).analyzers == []


class Thief(BaseModel):
    dump_period: str = ""


@pytest.mark.parametrize("path", ["profiling.task.on_cpu", "profiling.task.on_cpu.dump_period", "profiling.active"])
def test_two_plugins_at_one_place_are_both_named(path: str) -> None:
    """Broken: the second plugin silently replaces the settings of the first."""
    with pytest.raises(ConfigurationError, match=r"claimed twice, by .*(OnCpu|ProfilingSettings) and .*Thief"):
        load_settings([SECTIONS[0], SettingsSection(path, Thief)], environ={})


def test_keys_of_a_plugin_that_is_not_loaded_do_not_stop_the_agent(tmp_path: Path) -> None:
    """Broken: disabling a plugin makes the configuration that still mentions it invalid."""
    file = tmp_path / "rover.yaml"
    file.write_text("plugins: {disabled: [offcpu]}\nprofiling: {task: {off_cpu: {x: 1}}, active: false}")
    assert disabled_plugins(file=file, environ={}) == ("offcpu",)
    settings = load_settings(SECTIONS, file=file, environ={}, unloaded=["offcpu"])
    assert settings.section(ProfilingSettings).active is False
    (warning,) = settings.warnings
    assert "off_cpu: there is no such key" in warning
    assert warning.endswith("(or it belongs to a plugin that is not loaded: offcpu)")


def test_disabled_plugins_come_from_file_environment_and_command_line(tmp_path: Path) -> None:
    """Broken: a plugin that crashes the agent cannot be switched off by one of the three."""
    file = tmp_path / "rover.yaml"
    file.write_text("plugins: {disabled: a}\nunknown: {x: 1}")
    assert disabled_plugins(file=file, environ={}) == ("a",)
    assert disabled_plugins(file=file, environ={"ROVER_DISABLED_PLUGINS": "b, c"}) == ("b", "c")
    assert disabled_plugins(file=file, environ={}, overrides={"plugins.disabled": "d"}) == ("d",)


def test_the_shown_tree_is_a_configuration_with_the_same_effect(tmp_path: Path) -> None:
    """Broken: `rover config show > rover.yaml` changes the settings."""
    first = load(tmp_path, PLACEHOLDERS, {"ZONE": "us"})
    second = load(tmp_path, yaml.safe_dump(first.tree()))
    assert second.tree() == first.tree()
