"""The command line: what people touch first."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

import rover_core.cli.main
from rover_core.cli.main import COMMANDS, cli, run_cli
from rover_core.commands import Invocation, config_options, pass_invocation
from rover_core.errors import RoverError, UsageError

OWN = ["processes", "plugins", "config", "config check", "config show", "config example"]
ROVER = Path(sys.executable).with_name("rover")


def rover(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **environ}
    return subprocess.run([ROVER, *arguments], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", OWN)
def test_every_command_explains_itself_with_examples(command: str) -> None:
    """Broken: people must read source to learn what a command does."""
    result = CliRunner().invoke(cli, [*command.split(), "--help"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "Examples:" in result.output


def test_help_lists_every_command_and_is_fast() -> None:
    """Broken: a command is missing from help, or help imports half the world."""
    start = time.perf_counter()
    result = rover("--help")
    elapsed = time.perf_counter() - start
    assert result.returncode == 0
    assert all(f"  {name} " in result.stdout for name in COMMANDS)
    assert elapsed < 3, "0.2 s on an idle machine; the limit leaves room for a busy one"


def test_help_imports_neither_rich_nor_the_settings_machinery() -> None:
    """Broken: `rover --help` takes half a second."""
    code = (
        "import sys; from rover_core.cli.main import run_cli; run_cli(['--help']);"
        "print([m for m in ('rich', 'pydantic_settings', 'structlog', 'numpy', 'bcc') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_version() -> None:
    """Broken: a bug report cannot say what it is about."""
    result = CliRunner().invoke(cli, ["--version"])
    assert result.output.startswith("rover 0.")


@pytest.mark.parametrize(
    ("raised", "status", "stderr"),
    [
        (
            RoverError("loading", why="no BTF", remedy="Use a newer kernel"),
            1,
            "rover: loading: no BTF. Use a newer kernel",
        ),
        (UsageError("bad"), 2, "rover: bad"),
        (KeyboardInterrupt(), 130, ""),
        (click.UsageError("no such thing"), 2, "no such thing"),
    ],
)
def test_failures_are_sentences_with_an_exit_status(
    raised: BaseException,
    status: int,
    stderr: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Broken: a person's mistake shows a traceback, or a script cannot tell failure from success."""

    def fail(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(rover_core.cli.main.cli, "invoke", fail)
    assert run_cli(["plugins"]) == status
    captured = capsys.readouterr()
    assert stderr in captured.err
    assert "Traceback" not in captured.err


def test_a_closed_pipe_is_quiet() -> None:
    """Broken: `rover config show | head -1` ends in a traceback."""
    process = subprocess.Popen([ROVER, "config", "show"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate()
    assert errors == b""


def test_an_unknown_profiler_is_refused_with_how_to_get_it() -> None:
    """Broken: who asks for a profiler that is not installed is told to install another one."""
    result = rover("profile", "mongodb")
    assert result.returncode == 2
    assert "there is no profiler 'mongodb'" in result.stderr
    assert "pip install 'rover-agent[mongodb]'" in result.stderr


def test_an_unknown_command_is_refused() -> None:
    """Broken: a typo is a traceback."""
    result = rover("porcesses")
    assert result.returncode == 2
    assert "No such command 'porcesses'" in result.stderr


def capture(*arguments: str) -> Invocation:
    """The invocation that a command with `config_options` sees."""
    seen = []

    @click.command()
    @config_options
    @pass_invocation
    def probe(invocation: Invocation) -> None:
        seen.append(invocation)

    group = click.Group("rover", commands={"probe": probe}, params=config_options(click.Command("x")).params)
    CliRunner().invoke(group, list(arguments), catch_exceptions=False)
    return seen[0]


def test_configuration_options_work_before_and_after_the_command() -> None:
    """Broken: `rover -c FILE run` or `rover run -c FILE` ignores the file."""
    before = capture("-c", "a.yaml", "--set", "x.y=1", "probe", "--set", "z=2 ", "--log-level", "debug")
    after = capture("probe", "--config", "a.yaml", "--set", "x.y=1", "--set", "z=2", "--log-level", "DEBUG")
    assert before.config == after.config == Path("a.yaml")
    assert before.overrides == {"x.y": "1", "z": "2", "logger.level": "debug"} == after.overrides


def test_a_setting_that_is_not_key_value_is_refused() -> None:
    """Broken: `--set flush 2s` is silently ignored."""
    result = CliRunner().invoke(cli, ["--set", "flush", "plugins"])
    assert result.exit_code == 2
    assert "is not KEY=VALUE" in result.output


def test_config_check_says_ok_or_every_problem(tmp_path: Path) -> None:
    """Broken: a faulty configuration passes the check before a restart."""
    file = tmp_path / "rover.yaml"
    file.write_text("profiling: {flush_interval: 2s}\n")
    result = rover("config", "check", str(file))
    assert (result.returncode, result.stdout) == (0, f"{file}: OK\n")
    file.write_text("profiling:\n  flush_interval: 5 apples\npipeline:\n  queue_size: x\n")
    result = rover("config", "check", str(file))
    assert result.returncode == 2
    assert f"{file} line 2: profiling.flush_interval: '5 apples' is not a duration" in result.stderr
    assert f"{file} line 4: pipeline.queue_size: 'x' is not a whole number" in result.stderr


def test_config_show_is_yaml_with_origins(tmp_path: Path) -> None:
    """Broken: nobody can tell why a setting has the value it has."""
    file = tmp_path / "rover.yaml"
    file.write_text("profiling: {flush_interval: 2s}\n")
    result = rover(
        "config", "show", "-c", str(file), "--set", "pipeline.queue_size=9", ROVER_PROFILING_ACTIVE="false"
    )
    shown = yaml.safe_load(result.stdout)
    assert (shown["profiling"]["flush_interval"], shown["profiling"]["active"]) == ("2s", False)
    lines = {line.split("#")[0].strip(): line.split("# ")[1] for line in result.stdout.splitlines() if "#" in line}
    assert lines["flush_interval: 2s"] == "rover.yaml:1"
    assert lines["active: false"] == "environment ROVER_PROFILING_ACTIVE"
    assert lines["queue_size: 9"] == "command line"
    record = json.loads(rover("config", "show", "--json").stdout)
    assert record["origins"]["profiling.flush_interval"] == "default"


def test_plugins_lists_states_as_table_and_json() -> None:
    """Broken: a plugin that is missing or disabled cannot be noticed."""
    table = rover("plugins", ROVER_DISABLED_PLUGINS="oncpu").stdout
    assert table.splitlines()[0].split() == ["NAME", "DISTRIBUTION", "VERSION", "STATE", "HOOKS"]
    found = {plugin["name"]: plugin for plugin in json.loads(rover("plugins", "--json").stdout)}
    assert found["host"]["state"] == "loaded"
    assert found["host"]["hooks"] == ["rover_discoverers", "rover_settings"]
    disabled = json.loads(rover("--set", "plugins.disabled=oncpu,host", "plugins", "--json").stdout)
    assert {p["name"] for p in disabled if p["state"] == "disabled"} >= {"oncpu", "host"}


def test_processes_shows_this_very_process() -> None:
    """Broken: people cannot find what to profile."""
    found = json.loads(rover("processes", "--json", "--match", "python").stdout)
    record = next(each for each in found if each["pid"] == os.getpid())
    assert record["entities"][0]["layer"] == "OS_LINUX"
    assert record["properties"]["pid"] == str(os.getpid())
    lines = rover("processes", "--match", "python").stdout.splitlines()
    columns = ["PID", "USER", "NAME", "SERVICE", "INSTANCE", "LAYER", "CONTAINER", "SYMBOLS", "COMMAND"]
    assert lines[0].split() == columns
    own = next(line.split() for line in lines if line.startswith(f"{os.getpid()} "))
    name = Path(os.readlink("/proc/self/exe")).name
    assert own[2:8] == [name, name, socket.gethostname(), "OS_LINUX", "-", "no"], "an interpreter without a perf map"


def test_processes_without_a_discovery_plugin_says_what_to_install() -> None:
    """Broken: an empty table, and no idea why."""
    result = rover("processes", ROVER_DISABLED_PLUGINS="host")
    assert result.returncode == 1
    assert "rover: no processes to list: no discovery plugin is loaded" in result.stderr
    assert "pip install 'rover-agent[host]'" in result.stderr


def test_a_bad_expression_is_a_sentence() -> None:
    """Broken: `--match '['` is a traceback."""
    result = rover("processes", "--match", "[")
    assert result.returncode == 2
    assert "'[' is not a regular expression" in result.stderr


def test_names_cannot_smuggle_escape_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a process that names itself with escape sequences controls the operator's terminal."""
    from rover_core.cli.output import print_columns

    print_columns(("A",), [("\x1b[31mred\n",)])
    assert capsys.readouterr().out == "A\n?[31mred?\n"


def test_the_agent_s_process_has_no_command_line_in_memory() -> None:
    """Broken: an agent that runs for weeks keeps click and rich, 10 MB that it never uses again."""
    program = (
        "import sys, rover_core.cli.service, rover_core.cli.session, rover_core.agent;"
        "from rover_core.invocation import Invocation;"
        "plugins, settings = Invocation().load();"
        "plugins.discoverers(settings), plugins.profilers(settings), plugins.exporters(settings);"
        "print(*{'click', 'rich', 'bcc'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
