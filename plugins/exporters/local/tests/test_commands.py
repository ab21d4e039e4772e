"""`rover history` as a person uses it."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from rover_core.errors import RoverError, UsageError
from rover_core.model import Figure, Flow, FlowKey, Peer, ProcessKey, Profile
from rover_core.policies import CAUSES
from rover_core.testing import make_telemetry
from rover_exporter_local.plugin import rover_commands
from rover_exporter_local.store import Store

Rover = Callable[..., Result]


@pytest.fixture
def directory(tmp_path: Path, profile: Profile) -> Path:
    store = Store.open(tmp_path / "profiles.db")
    store.add(profile)
    store.close()
    return tmp_path


@pytest.fixture
def rover(monkeypatch: pytest.MonkeyPatch) -> Rover:
    monkeypatch.setenv("COLUMNS", "120")
    cli = click.Group()
    rover_commands(cli)

    def call(*arguments: str | Path) -> Result:
        return CliRunner().invoke(cli, ["history", *map(str, arguments)], catch_exceptions=True)

    return call


def test_list(rover: Rover, directory: Path) -> None:
    """Broken: what is there cannot be found."""
    shown = rover("list", "--directory", directory)
    assert shown.exit_code == 0
    row = next(line for line in shown.output.splitlines() if "task-1" in line)
    assert row.split()[-5:] == ["s", "16", "5", "94.1", "%"]


def test_a_task_is_named_whole(
    rover: Rover, directory: Path, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: on a terminal of 80 columns, or in a pipe, the id that `show` and `export` want is cut off."""
    task = "20260314-101500-oncpu"
    store = Store.open(directory / "profiles.db")
    store.add(replace(profile, task_id=task))
    store.close()
    monkeypatch.setenv("COLUMNS", "80")
    assert task in rover("list", "--directory", directory).output


def test_list_as_json(rover: Rover, directory: Path, profile: Profile) -> None:
    """Broken: scripts that read the list."""
    (task,) = json.loads(rover("list", "--json", "--directory", directory).output)
    assert task.pop("complete") == pytest.approx(16 / 17)
    assert task == {
        "id": "task-1",
        "profiler": "ON_CPU",
        "start_ns": profile.start_ns,
        "end_ns": profile.end_ns,
        "samples": 16,
        "expected": 17,
        "processes": 5,
        "completeness": "incomplete: 94.1 % of 17 samples kept; lost: 1 map full; "
        "poorer than they should be: 4 unsymbolized",
        "causes": "",
    }


def test_what_a_policy_began_says_why(rover: Rover, tmp_path: Path, profile: Profile) -> None:
    """Broken: nobody can tell why there is a profile of last night."""
    store = Store.open(tmp_path / "profiles.db")
    store.add(replace(profile, attributes={**profile.attributes, CAUSES: "shop (7): PROCESS_CPU 93 %"}))
    store.close()
    (task,) = json.loads(rover("list", "--json", "--directory", tmp_path).output)
    assert task["causes"] == "shop (7): PROCESS_CPU 93 %"
    assert "Begun because of shop (7): PROCESS_CPU 93 %" in rover("show", "last", "--directory", tmp_path).output


@pytest.mark.parametrize("task", ["last", "task-1"])
def test_show(rover: Rover, directory: Path, task: str) -> None:
    """Broken: the hottest functions of a stored task, or that something is missing from it, are not shown."""
    shown = rover("show", task, "--directory", directory).output
    assert "ON_CPU, task task-1" in shown
    assert "vfs_read" in shown
    assert "94.1 % of 17 samples kept" in shown
    assert "\n" not in next(line for line in shown.splitlines() if "parse;line" in line)


def test_export_to_a_file_and_to_a_pipe(rover: Rover, directory: Path, tmp_path: Path) -> None:
    """Broken: what was stored cannot be taken elsewhere."""
    output = tmp_path / "out.html"
    assert str(output) in rover("export", "last", "--directory", directory, "--output", output).output
    assert output.read_text().startswith("<!DOCTYPE html>")
    piped = rover("export", "last", "--directory", directory, "--format", "folded", "--output", "-")
    assert "shop;main;parse:line feed 5" in piped.output
    binary = rover("export", "task-1", "--directory", directory, "--format", "pprof", "--output", "-")
    assert b"vfs_read" in gzip.decompress(binary.stdout_bytes)


@pytest.mark.parametrize("before", [True, False])
def test_the_configured_directory(rover: Rover, directory: Path, tmp_path: Path, before: bool) -> None:
    """Broken: the agent of a configuration file keeps its history where `rover history -c` does not look."""
    file = tmp_path / "rover.yaml"
    file.write_text(f"exporter:\n  local:\n    directory: {directory}\nprofiling:\n  unheard_of: 1\n")
    arguments = ("-c", file, "list") if before else ("list", "-c", file)
    assert "task-1" in rover(*arguments).output


def test_the_directory_by_other_means(
    rover: Rover, directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Broken: the environment or `--set` is not heeded, or weighs more than `--directory`."""
    assert "task-1" in rover("show", "last", "--set", f"exporter.local.directory={directory}").output
    monkeypatch.setenv("ROVER_EXPORTER_LOCAL_DIRECTORY", str(directory))
    assert "task-1" in rover("show", "last").output
    assert "no history in" in str(rover("list", "--directory", tmp_path / "elsewhere").exception)


def test_failures_are_sentences(rover: Rover, directory: Path, tmp_path: Path) -> None:
    """Broken: a traceback, or a wrong exit status."""
    missing = rover("show", "nope", "--directory", directory).exception
    assert isinstance(missing, UsageError)
    nothing = rover("list", "--directory", tmp_path / "elsewhere").exception
    assert isinstance(nothing, RoverError)
    assert "no history in" in str(nothing)
    unwritable = rover("export", "last", "--directory", directory, "--output", tmp_path / "no" / "x").exception
    assert isinstance(unwritable, RoverError)
    assert str(unwritable).startswith(f"cannot write {tmp_path}/no/x: No such file or directory")


def test_an_empty_store_has_no_last_task(rover: Rover, tmp_path: Path) -> None:
    """Broken: an IndexError for whoever is too early."""
    Store.open(tmp_path / "profiles.db").close()
    assert "Nothing was profiled yet" in rover("list", "--directory", tmp_path).output
    assert "no history in" in str(rover("show", "last", "--directory", tmp_path).exception)


@pytest.mark.parametrize("command", [[], ["list"], ["show"], ["export"]])
def test_help_has_examples(rover: Rover, command: list[str]) -> None:
    """Broken: help that does not help."""
    assert "Examples:\n    rover history" in rover(*command, "--help").output


def test_a_network_task(rover: Rover, directory: Path) -> None:
    """Broken: a network task is listed but cannot be shown or written, or is offered as a flame graph."""
    key = FlowKey(ProcessKey(7, 70), "nginx", "server", "tcp", Peer(address="10.0.0.9"))
    flow = Flow(key, "10.0.0.9:1", 3, {"write": Figure(4, 5000, 4, 4000)}, {})
    store = Store.open(directory / "profiles.db")
    store.add(
        make_telemetry(task_id="net", profiler="NETWORK", flows=(flow,), start_ns=2 << 60, end_ns=(2 << 60) + 1)
    )
    store.close()
    (listed,) = json.loads(rover("list", "--json", "--directory", directory).output)[1:]
    assert (listed["id"], listed["profiler"], listed["processes"]) == ("net", "NETWORK", 1)
    shown = rover("show", "last", "--directory", directory).output
    assert "nginx (7)" in shown
    assert "10.0.0.9" in shown
    assert "events" in shown
    written = rover("export", "net", "--format", "json", "--output", "-", "--directory", directory)
    assert written.exit_code == 0, written.exception
    assert json.loads(written.stdout.splitlines()[0])["figures"]["write"]["bytes"] == 5000
    page = directory / "net.html"
    assert rover("export", "net", "--output", page, "--directory", directory).exit_code == 0
    assert "nginx" in page.read_text()
    refused = rover("export", "net", "--format", "pprof", "--output", page, "--directory", directory)
    assert isinstance(refused.exception, UsageError)
    assert "html, json" in str(refused.exception)
