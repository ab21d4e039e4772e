"""Sampled exchanges in the store, and `rover trace`."""

import json
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from rover_core.errors import UsageError
from rover_core.flows import sample_record
from rover_core.model import Profile, Sample, Syscall, TraceContext
from rover_core.testing import FakeContext, make_sampled, make_telemetry
from rover_exporter_local.exporter import LocalExporter
from rover_exporter_local.plugin import rover_commands
from rover_exporter_local.settings import LocalSettings
from rover_exporter_local.store import Store

Rover = Callable[..., Result]
SECOND = 1_000_000_000


def store_of(folder: Path, *samples: Sample, **bounds: int) -> Path:
    with closing(Store.open(folder / "profiles.db", **bounds)) as store:
        store.add_samples(make_telemetry(samples=samples))
    return folder


@pytest.fixture
def rover(monkeypatch: pytest.MonkeyPatch) -> Rover:
    monkeypatch.setenv("COLUMNS", "120")
    cli = click.Group()
    rover_commands(cli)
    return lambda *arguments: CliRunner().invoke(cli, ["trace", *map(str, arguments)], color=True)


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    """Broken: the history shows other messages than were sampled."""
    samples = [make_sampled(subject=f"/{n}", start_ns=n * SECOND, trace=None) for n in range(3)]
    store_of(tmp_path, *samples)
    with closing(Store.read(tmp_path / "profiles.db")) as store:
        found = store.samples(2)
    assert [(each.pop("id"), each.pop("task")) for each in found] == [(2, "task"), (3, "task")]
    assert found == json.loads(json.dumps([sample_record(sample) for sample in samples[1:]]))


async def test_the_exporter_keeps_what_was_sampled(tmp_path: Path) -> None:
    """Broken: `rover trace` is empty although the agent sampled."""
    exporter = LocalExporter(LocalSettings(directory=tmp_path))
    await exporter.start(FakeContext())
    await exporter.export(make_telemetry(samples=(make_sampled(start_ns=time.time_ns()),)))
    await exporter.export(make_telemetry())
    await exporter.stop()
    with closing(Store.read(tmp_path / "profiles.db")) as store:
        assert len(store.samples(10)) == 1


def test_old_ones_go(tmp_path: Path) -> None:
    """Broken: retention keeps for ever what people said to each other."""
    fresh, old = make_sampled(start_ns=time.time_ns()), make_sampled(start_ns=time.time_ns() - 90 * SECOND)
    store_of(tmp_path, old, fresh, retention_ns=60 * SECOND)
    with closing(Store.read(tmp_path / "profiles.db")) as store:
        assert [each["start_ns"] for each in store.samples(10)] == [fresh.exchange.start_ns]


def test_a_full_store_loses_the_oldest_first(tmp_path: Path, profile: Profile) -> None:
    """Broken: max_size does not hold, or newer profiles go for the sake of older exchanges."""
    noise = random.Random(1)
    with closing(Store.open(tmp_path / "profiles.db", max_size=1 << 20)) as store:
        store.add(profile)
        for n in range(60):
            sample = make_sampled(start_ns=n * SECOND)
            assert sample.exchange.request
            request = replace(sample.exchange.request, text=noise.randbytes(30_000).hex())
            exchange = replace(sample.exchange, request=request)
            store.add_samples(make_telemetry(samples=(replace(sample, exchange=exchange),)))
            assert store.size() <= 1 << 20
        kept = [each["start_ns"] // SECOND for each in store.samples(100)]
        assert kept == list(range(kept[0], 60))
        assert 5 < len(kept) < 60
        assert store.load("task-1").samples


def test_an_older_store_has_none(tmp_path: Path, rover: Rover) -> None:
    """Broken: the store of an agent that never sampled cannot be read."""
    store_of(tmp_path)
    with closing(sqlite3.connect(tmp_path / "profiles.db")) as connection:
        connection.execute("DROP TABLE exchanges")
    assert rover("--directory", tmp_path).output == "Nothing was sampled yet.\n"


def test_list(tmp_path: Path, rover: Rover) -> None:
    """Broken: what was sampled cannot be found; or a pipe gets colours."""
    store_of(tmp_path, make_sampled(), make_sampled(reason="status_5xx", status="503", duration_ns=1_000_000))
    shown = rover("--directory", tmp_path)
    assert shown.exit_code == 0, shown.output
    lines = [line.split() for line in shown.output.splitlines() if "/orders" in line]
    assert [(words[0], words[-3:]) for words in lines] == [
        ("2", ["10.0.0.7:80", "GET", "/orders"]),
        ("1", ["10.0.0.7:80", "GET", "/orders"]),
    ]
    assert "\x1b" not in shown.output


def test_one_is_shown_whole(tmp_path: Path, rover: Rover) -> None:
    """Broken: an exchange is shown without its messages, or another one, or acts on the terminal."""
    sample = make_sampled(subject="/\x1b[2J", trace=TraceContext("zipkin", "0af7", "", "b7ad"))
    assert sample.exchange.response
    calls = (Syscall("Recvfrom", 0, 5_000, 2, 2048, "eth0", 2, 40), Syscall("Read", 0, 1_000, 1, 99))
    response = replace(sample.exchange.response, syscalls=calls)
    store_of(tmp_path, make_sampled(), replace(sample, exchange=replace(sample.exchange, response=response)))
    for name in ("2", "0af7"):
        shown = rover(name, "--directory", tmp_path).output
        assert "GET /orders?id=7 HTTP/1.1\nHost: store" in shown
        assert "ten boxes" in shown
        assert "zipkin 0af7 b7ad" in shown
        assert "Recvfrom 5 µs, 2 packets, 2 KB, eth0, round trip 40 µs" in shown
        assert "Read 1 µs, 1 packet, 99 B" in shown
        assert "\x1b" not in shown
    assert "segment.1" in rover("1", "--directory", tmp_path).output
    assert "0af7" in rover("last", "--directory", tmp_path).output


def test_scripts_get_lines_of_json(tmp_path: Path, rover: Rover) -> None:
    """Broken: `rover trace --json | jq`."""
    store_of(tmp_path, make_sampled(), make_sampled())
    records = [json.loads(line) for line in rover("--json", "--directory", tmp_path).output.splitlines()]
    assert [record["id"] for record in records] == [1, 2]
    assert records[0]["request"]["text"].startswith("GET /orders")
    (record,) = [json.loads(line) for line in rover("2", "--json", "--directory", tmp_path).output.splitlines()]
    assert record == records[1]


def test_those_of_a_task(tmp_path: Path, rover: Rover, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: what a policy had sampled cannot be told from what others had, or nobody learns of it."""
    with closing(Store.open(tmp_path / "profiles.db")) as store:
        for task in ("mine", "theirs", "none"):
            samples = [make_sampled(subject=f"/{task}")] * {"mine": 2, "theirs": 1}.get(task, 0)
            telemetry = make_telemetry(task_id=task, samples=tuple(samples), last=True)
            store.add_samples(telemetry)
            store.add(telemetry)
    listed = rover("--task", "mine", "--json", "--directory", tmp_path).output.splitlines()
    assert [json.loads(line)["subject"] for line in listed] == ["/mine", "/mine"]
    assert len(rover("--task", "mine", "--json", "--limit", 1, "--directory", tmp_path).output.splitlines()) == 1
    for wrong in (("--task", "none"), ("--task", "mine", "last")):
        assert isinstance(rover(*wrong, "--directory", tmp_path).exception, UsageError)

    def shown(task: str) -> str:
        cli = click.Group()
        rover_commands(cli)
        return CliRunner().invoke(cli, ["history", "show", task, "--directory", str(tmp_path)]).output

    command = f"rover trace --directory {tmp_path} --task"
    assert f"Sampled were 2 exchanges: {command} mine\n" in shown("mine")
    assert f"Sampled were 1 exchange: {command} theirs\n" in shown("theirs")
    assert "rover trace" not in shown("none")


@pytest.mark.parametrize("name", ["7", "nothing", "9" * 30, "", "-1"])
def test_what_is_not_there_is_a_sentence(tmp_path: Path, rover: Rover, name: str) -> None:
    """Broken: a mistyped id ends in a traceback, or shows something else."""
    store_of(tmp_path, make_sampled(trace=None))
    result = rover("--directory", tmp_path, "--", name)
    assert isinstance(result.exception, UsageError)
