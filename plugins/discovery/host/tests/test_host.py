"""The host's processes as a backend would see them, and what looking costs."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from rover_core.config.loading import load_settings
from rover_core.config.problems import ConfigurationError
from rover_core.identity.agent import host_ip
from rover_core.logs import configure_logs
from rover_core.model import Entity, Process
from rover_core.plugins import PluginManager, PluginState
from rover_core.procfs import ProcessTable
from rover_discovery_host import plugin
from rover_discovery_host.discoverer import HostDiscoverer
from rover_discovery_host.settings import HostSettings

SCANNER = "process_discovery.scanner"
Start = Callable[..., "subprocess.Popen[str]"]


def load(folder: Path, text: str = "", environ: Mapping[str, str] | None = None) -> HostSettings:
    """The plugin's settings out of a file whose `process_discovery.scanner` is this text."""
    file = folder / "rover.yaml"
    file.write_text(f"process_discovery: {{scanner: {{{text}}}}}")
    manager = PluginManager()
    manager.register("host", plugin)
    return load_settings(manager.sections(), file=file, environ=environ or {}).section(HostSettings)


def this_process(settings: HostSettings | None = None) -> Process:
    return next(process for process in HostDiscoverer(settings).scan() if process.pid == os.getpid())


def put(root: Path, pid: int, comm: bytes, cmdline: bytes) -> None:
    """A made-up process."""
    (root / str(pid)).mkdir()
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2]
    (root / str(pid) / "stat").write_bytes(b"%d (%s)%s" % (pid, comm, fields))
    (root / str(pid) / "cmdline").write_bytes(cmdline)


def test_every_process_is_an_entity_named_after_its_executable() -> None:
    """Broken: a backend shows the host's processes under other names than people know them by."""
    found = this_process()
    name = Path(os.readlink("/proc/self/exe")).name
    assert found.entities == (Entity("OS_LINUX", name, socket.gethostname(), name),)
    properties = dict(found.properties)
    assert (properties["pid"], properties["host_ip"]) == (str(os.getpid()), host_ip())
    assert properties["support_ebpf_profiling"] == "false", "an interpreter"


def test_kernel_threads_are_nobody_to_a_backend() -> None:
    """Broken: a backend lists two hundred kworkers as services."""
    found = [process for process in HostDiscoverer().scan() if process.kernel_thread]
    assert all(process.entities == process.properties == () for process in found)


def test_a_process_that_has_not_changed_is_the_same_object() -> None:
    """Broken: every scan makes thousands of new objects, and the registry compares them all."""
    discoverer = HostDiscoverer()
    discoverer.scan()
    settled = {process.key: process for process in discoverer.scan()}
    again = {process.key: process for process in discoverer.scan()}
    key = next(key for key in settled if key.pid == os.getpid())
    assert again[key] is settled[key]


def test_the_hook_hands_over_one_discoverer() -> None:
    """Broken: the plugin installs but finds nothing."""
    manager = PluginManager()
    manager.register("host", plugin)
    settings = load_settings(manager.sections(), environ={})
    assert [each.name for each in manager.discoverers(settings)] == ["host"]
    assert manager.plugins[0].state is PluginState.LOADED


NGINX = r"""
regex: [{match_cmd: 'nginx: (\w+)', service_name: 'web-{{.Finder.RegexMatchGroup 1}}', labels: 'a, b',
         instance_name: '{{.Rover.HostName}}:{{.Process.Pid}}', layer: VIRTUAL},
        {match_cmd: 'nginx|app', service_name: 'other.{{.Finder.Layer}}'}]
"""


def test_the_first_expression_that_matches_names_a_process(tmp_path: Path) -> None:
    """Broken: a configuration written for the Go agent names services otherwise."""
    for pid, comm, cmdline in (
        (7, b"nginx", b"nginx: worker\0"),
        (8, b"app", b"/bin/app\0-x\0"),
        (9, b"sh", b"sh\0"),
    ):
        put(tmp_path, pid, comm, cmdline)
    found = {process.pid: process for process in HostDiscoverer(load(tmp_path, NGINX), root=tmp_path).scan()}
    host = socket.gethostname()
    assert found[7].entities == (Entity("VIRTUAL", "web-worker", f"{host}:7", "nginx", ("a", "b")),)
    assert found[8].entities == (Entity("OS_LINUX", "other.OS_LINUX", host, "app"),)
    assert found[9].entities == (), "found all the same, but nobody to a backend"
    everything = load(tmp_path, f"mode: 'regex,ALL', {NGINX}")
    named = {process.pid: process for process in HostDiscoverer(everything, root=tmp_path).scan()}
    assert named[9].entities == (Entity("OS_LINUX", "sh", host, "sh"),)
    assert named[7].entities == found[7].entities


def test_modes_are_a_list_or_a_text_with_commas(tmp_path: Path) -> None:
    """Broken: both finders cannot be on at once."""
    for text in ("mode: 'AGENT_SENSOR, regex'", "mode: [agent_sensor, REGEX]", "Mode: [AGENT_SENSOR, REGEX]"):
        assert load(tmp_path, text).modes == ("AGENT_SENSOR", "REGEX")
    assert load(tmp_path).modes == ("ALL",)
    assert load(tmp_path, NGINX).modes == ("REGEX",)
    with pytest.raises(ConfigurationError, match="'REGEXP' is not one of"):
        load(tmp_path, "mode: REGEXP")


def test_the_contracts_variables_make_an_entry_of_their_own(tmp_path: Path) -> None:
    """Broken: a container configured by its environment alone names nothing, or overrules the file's entries."""
    prefix = "ROVER_PROCESS_DISCOVERY_REGEX_SCANNER_"
    environ = {f"{prefix}MATCH_CMD": "nginx", f"{prefix}SERVICE_NAME": "web", f"{prefix}LABELS": "a,b"}
    environ |= {"ROVER_PROCESS_DISCOVERY_AGENT_PROCESS_STATUS_REFRESH_PERIOD": "2m"}
    settings = load(tmp_path, environ=environ)
    (entry,) = settings.finders
    assert (entry.match_cmd, entry.service_name, entry.labels, entry.layer) == (
        "nginx",
        "web",
        ("a", "b"),
        "OS_LINUX",
    )
    assert settings.agent.process_status_refresh_period == 120 * 10**9
    assert [each.service_name for each in load(tmp_path, NGINX, environ).finders][1] == "other.{{.Finder.Layer}}"
    with pytest.raises(ConfigurationError, match=rf"^environment {prefix}MATCH_CMD: .*not a regular expression"):
        load(tmp_path, environ={f"{prefix}MATCH_CMD": "(", f"{prefix}SERVICE_NAME": "web"})


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ("match_cmd: '(', service_name: x", "regex[0].match_cmd: '(' is not a regular expression: missing ): ("),
        ("match_cmd: a, service_name: '{{.Proces.Pid}}'", "there is no .Proces; known are .Rover, .Process, .Finder"),
        ("match_cmd: a, service_name: '{{.Pod.Name}}'", "there is no .Pod; known are"),
        ("match_cmd: a", "regex[0]: match_cmd is set and service_name is not; both are needed"),
        ("service_name: a", "regex[0]: service_name is set and match_cmd is not; both are needed"),
    ],
)
def test_what_cannot_work_is_said_at_the_start(tmp_path: Path, entry: str, sentence: str) -> None:
    """Broken: a mistake in a configuration is found out by nothing appearing at the backend."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, f"regex: [{{{entry}}}]")
    assert f"line 1: {SCANNER}." in str(caught.value)
    assert sentence in str(caught.value)


def test_a_name_without_a_value_is_said_once_and_leaves_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: one odd process stops the scan, or fills the log every three seconds."""
    configure_logs("WARNING", "json")
    for pid in range(1, 9):
        put(tmp_path, pid, b"app", b"app\0")
    text = (
        "regex: [{match_cmd: app, service_name: '{{.Finder.RegexMatchGroup 3}}'}, {match_cmd: app, service_name: b}]"
    )
    discoverer = HostDiscoverer(load(tmp_path, text), root=tmp_path)
    for _ in range(3):
        assert {process.entities[0].service for process in discoverer.scan()} == {"b"}
    assert capsys.readouterr().err.count("regex[0]: a name comes out empty") == 1


def test_an_interface_that_is_not_there_gives_way_to_one_that_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Broken: the Go agent's own file, whose instances are named after en0, finds nothing on Linux."""
    configure_logs("WARNING", "json")
    entry = "match_cmd: ., service_name: a, instance_name: '{{.Rover.HostIPV4 \"en0\"}}'"
    assert this_process(load(tmp_path, f"regex: [{{{entry}}}]")).entities[0].instance == host_ip()
    assert "en0" in capsys.readouterr().err


def test_secrets_are_kept_unless_switched_off(tmp_path: Path) -> None:
    """Broken: passwords on command lines reach the backend, or cannot be shown where that is wanted."""
    put(tmp_path, 7, b"app", b"app\0--password=hunter2\0")
    for text, shown in (("", "app --password=***"), ("redact_secrets: false", "app --password=hunter2")):
        name = "regex: [{match_cmd: hunter2, service_name: '{{.Process.CommandLine}}'}]"
        (process,) = HostDiscoverer(load(tmp_path, f"{text}{', ' * bool(text)}{name}"), root=tmp_path).scan()
        assert dict(process.properties)["command_line"] == process.entities[0].service == shown


def test_a_known_process_costs_little_more_than_reading_its_state(tmp_path: Path) -> None:
    """Broken: looking for processes every 3 s costs more than the profiling."""
    for pid in range(1, 1001):
        put(tmp_path, pid, b"app", b"app\0")
    discoverer, table = HostDiscoverer(root=tmp_path), ProcessTable(tmp_path)
    ratios = []
    for _ in range(6):
        times_s = []
        for scan in (table.scan, discoverer.scan):
            start_s = time.process_time()
            assert len(list(scan())) == 1000
            times_s.append(time.process_time() - start_s)
        ratios.append(times_s[1] / times_s[0])
    assert min(ratios[2:]) < 2, "it is 1.1"


@pytest.mark.kernel
def test_a_process_in_a_containers_control_group_has_its_id(start: Start, tmp_path: Path) -> None:
    """Broken: what the kernel says of control groups is not what containers are recognised by."""
    child = start("sleep", "600")
    subprocess.run(["mount", "-t", "cgroup2", "none", tmp_path], check=True)
    group = tmp_path / f"docker-{'0123456789abcdef' * 4}.scope"
    try:
        group.mkdir()
        (group / "cgroup.procs").write_text(str(child.pid))
        found = next(process for process in HostDiscoverer().scan() if process.pid == child.pid)
    finally:
        child.kill()
        child.wait()
        deadline = time.monotonic() + 10
        while "populated 1" in (group / "cgroup.events").read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        group.rmdir()
        subprocess.run(["umount", tmp_path], check=True)
    properties = dict(found.properties)
    assert (properties["container_id"], properties["container_runtime"]) == ("0123456789abcdef" * 4, "docker")
