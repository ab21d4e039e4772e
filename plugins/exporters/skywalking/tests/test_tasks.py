"""Commands to tasks: each once, whenever and however often it comes."""

import time
from typing import Any

import pytest
from skywalking_backend import Backend

from rover_core.model import SamplingRule
from rover_core.testing import FakeContext
from rover_exporter_skywalking.accepted import AcceptedOrders
from rover_exporter_skywalking.processes import ProcessBook
from rover_exporter_skywalking.protocol.common_pb2 import Command
from rover_exporter_skywalking.protocol.process_pb2 import EBPFProcessReportList
from rover_exporter_skywalking.protocol.profiling_pb2 import EBPFProfilingTaskQuery
from rover_exporter_skywalking.tasks import TaskPolling

NOW_MS = time.time_ns() // 1_000_000


class Desk:
    """A backend, an agent that never runs anything, and what is between them."""

    def __init__(self, make_process: Any) -> None:
        self.make_process = make_process
        self.backend = Backend()
        self.book = ProcessBook()
        self.context = FakeContext(profilers=("ON_CPU", "OFF_CPU"))
        self.accepted = AcceptedOrders()
        self.polling = TaskPolling(None, self.book, self.accepted, "agent", 1)  # type: ignore[arg-type]

    def find(self, *names: str) -> list[str]:
        """The host has these processes now, and the backend has heard of them. Returns their ids."""
        self.book.update([self.make_process(name, 100 + n) for n, name in enumerate(names)])
        due = self.book.all()
        report = EBPFProcessReportList(processes=[known.to_report() for known in due], ebpfAgentID="agent")
        self.book.assign(due, self.backend.reportProcesses(report), 1)
        return [self.backend.id_of(name) for name in names]

    def poll(self) -> int:
        """Ask once. Returns how many commands came."""
        query = EBPFProfilingTaskQuery(roverInstanceId="agent", latestUpdateTime=self.polling.latest_ms)
        commands = self.backend.queryTasks(query)
        self.polling.obey(commands, self.context)
        return len(commands.commands)


@pytest.fixture
def desk(make_process: Any) -> Desk:
    return Desk(make_process)


def test_a_task_is_submitted_once(desk: Desk) -> None:
    """Broken: a task is started again with every poll, or asked for for ever."""
    (shop,) = desk.find("shop")
    desk.backend.order("t", [shop], TaskStartTime=time.time_ns() // 1_000_000 - 20_000)
    assert desk.poll() == 1
    (task,) = desk.context.tasks.values()
    assert task.profiler == "ON_CPU"
    assert [key.pid for key in task.processes or ()] == [100]
    assert task.duration_ns is not None
    assert 30e9 < task.duration_ns < 40e9, "what was left of it: picking it up late does not shift its end"
    assert desk.poll() == 0


def test_a_future_start_is_the_task_managers_to_wait_for(desk: Desk) -> None:
    """Broken: a task of tomorrow starts now."""
    (shop,) = desk.find("shop")
    desk.backend.order("t", [shop], TaskStartTime=NOW_MS + 3_600_000)
    desk.poll()
    (task,) = desk.context.tasks.values()
    assert task.start_ns == (NOW_MS + 3_600_000) * 1_000_000
    assert task.duration_ns == 60_000_000_000


def test_what_is_over_is_dropped(desk: Desk) -> None:
    """Broken: an agent that starts anew runs every task of the past."""
    (shop,) = desk.find("shop")
    desk.backend.order("t", [shop], TaskStartTime=NOW_MS - 600_000)
    desk.poll()
    assert desk.context.tasks == {}
    assert desk.poll() == 0


def test_an_unknown_process_is_waited_for_and_holds_up_nothing(desk: Desk) -> None:
    """Broken: a task for a process that is found a second later never runs, since a newer one moved the time on."""
    shop, cart = desk.find("shop", "cart")
    desk.find("cart")
    desk.backend.order("old", [shop], TaskUpdateTime=NOW_MS)
    desk.backend.order("new", [cart], TaskUpdateTime=NOW_MS + 1000)
    assert desk.poll() == 2
    assert [task.id.rpartition("-")[0] for task in desk.context.tasks.values()] == ["new"]
    assert desk.poll() == 2
    desk.find("shop", "cart")
    assert desk.poll() == 2
    assert len(desk.context.tasks) == 2
    assert desk.poll() == 0


def test_a_task_of_thirty_processes_is_thirty_orders(desk: Desk) -> None:
    """Broken: of a task over many processes, which has one id for all its commands, only the last one runs."""
    ids = desk.find(*(f"worker-{n}" for n in range(30)))
    for each in ids:
        desk.backend.order("t", [each])
    desk.poll()
    assert len(desk.context.tasks) == 30
    assert {key.pid for task in desk.context.tasks.values() for key in task.processes or ()} == set(range(100, 130))


def test_a_command_of_several_ids_is_one_task(desk: Desk) -> None:
    """Broken: all but the first process of a command are ignored."""
    ids = desk.find("shop", "cart")
    desk.backend.order("t", ids)
    desk.poll()
    (task,) = desk.context.tasks.values()
    assert {key.pid for key in task.processes or ()} == {100, 101}
    accepted = desk.accepted.find(task.id)
    assert accepted
    assert sorted(owner for owners in accepted.processes.values() for owner in owners) == sorted(ids)


def test_prolonging_keeps_the_task_and_its_sampling(desk: Desk) -> None:
    """Broken: a NETWORK task that someone looks at ends after ten minutes, or starts anew without its rules."""
    desk.context.profilers = ("NETWORK",)
    (shop,) = desk.find("shop")
    rules = '{"NetworkSamplings":[{"URIRegex":"/a"}]}'
    same = {"target": "NETWORK", "TaskStartTime": NOW_MS, "FixedTriggerDuration": 600}
    desk.backend.order("t", [shop], ExtensionConfigJSON=rules, TaskUpdateTime=NOW_MS, **same)
    desk.poll()
    (first,) = desk.context.tasks.values()
    assert first.settings == {"sampling": (SamplingRule("/a"),)}
    desk.backend.order("t", [shop], TaskUpdateTime=NOW_MS + 1, **{**same, "FixedTriggerDuration": 1200})
    desk.poll()
    (second,) = desk.context.tasks.values()
    assert (second.settings, second.start_ns) == (first.settings, first.start_ns)
    assert (second.duration_ns or 0) - (first.duration_ns or 0) == 600_000_000_000


def test_a_new_task_about_the_same_replaces_the_old(desk: Desk) -> None:
    """Broken: two tasks of one process count everything twice."""
    (shop,) = desk.find("shop")
    desk.backend.order("old", [shop], TaskUpdateTime=NOW_MS)
    desk.poll()
    desk.backend.order("new", [shop], TaskUpdateTime=NOW_MS + 1)
    desk.backend.order("other kind", [shop], "OFF_CPU", TaskUpdateTime=NOW_MS + 2)
    desk.poll()
    assert [task.rpartition("-")[0] for task in desk.context.cancelled] == ["old"]
    assert len(desk.context.tasks) == 3


def test_a_profiler_that_is_not_installed_is_named_once(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: the backend's NETWORK tasks do nothing and nobody learns why; or the log fills with it."""
    (shop,) = desk.find("shop")
    cart, *_ = desk.find("cart", "shop")
    desk.backend.order("n", [shop], "NETWORK", TaskUpdateTime=NOW_MS + 1)
    desk.backend.order("waits", ["someone else", shop], TaskUpdateTime=NOW_MS)
    for _ in range(5):
        assert desk.poll() == 2
    said = capsys.readouterr()
    lines = [line for line in (said.out + said.err).splitlines() if "refused" in line]
    assert len(lines) == 1
    assert "pip install 'rover-agent[network]'" in lines[0]
    assert desk.context.tasks == {}
    assert cart


def test_malformed_commands_are_skipped_and_named_once(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: one bad command holds up the good ones."""
    (shop,) = desk.find("shop")
    desk.backend.order("bad", [shop], TargetType="HEAP", TaskUpdateTime=NOW_MS)
    desk.backend.give([], Command(command="FlyToTheMoon"), NOW_MS)
    desk.backend.order("worse", [shop], ExtensionConfigJSON="{", TaskUpdateTime=NOW_MS)
    desk.backend.order("bad too", [shop, "unknown"], TaskUpdateTime=NOW_MS - 1)
    desk.backend.order("good", [shop], TaskUpdateTime=NOW_MS)
    desk.poll()
    desk.poll()
    assert [task.rpartition("-")[0] for task in desk.context.tasks] == ["good"]
    said = capsys.readouterr()
    lines = [line for line in (said.out + said.err).splitlines() if "skipped" in line]
    assert len(lines) == 3
    for line, name in zip(lines, ("bad", "FlyToTheMoon", "worse"), strict=True):
        assert name in line


def test_what_is_known_of_tasks_does_not_pile_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: an agent that has run for a year remembers every task of it."""
    (shop,) = desk.find("shop")
    for minute in range(50):
        monkeypatch.setattr(time, "time_ns", lambda at=minute: (NOW_MS + at * 60_000) * 1_000_000)
        desk.backend.tasks.clear()
        desk.backend.order(f"t{minute}", [shop], FixedTriggerDuration=30)
        desk.poll()
    assert len(desk.context.tasks) == 50
    assert len(desk.accepted) < 10, "those of the last minutes, whose last data may still come"
