"""The agent as a whole, with fakes in every place."""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from subprocess import PIPE, Popen

import pytest

from rover_core.agent import STOP_WITHIN_S, Agent, Outcome, Parts, Timing
from rover_core.api import AgentContext
from rover_core.model import Completeness, Loss, Task
from rover_core.testing import FakeDiscoverer, FakeExporter, FakeProfiler, this_process

QUICK = Timing(flush_interval_ns=10_000_000, scan_period_ns=10_000_000, queue_size=4)


async def until(condition: Callable[[], object], within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        await asyncio.sleep(0.005)


class Source:
    """A task source that submits one task and then does as it is told."""

    name = "source"

    def __init__(self, task: Task, failure: Exception | None = None) -> None:
        self.task = task
        self.failure = failure
        self.cancelled = False
        self.saw_process = False

    async def run(self, context: AgentContext) -> None:
        while not context.processes:
            await asyncio.sleep(0.001)
        self.saw_process = context.find_process(this_process().pid) is not None
        context.submit(self.task)
        if self.failure:
            raise self.failure
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def test_from_discovery_to_export() -> None:
    """Broken: a part of the agent is not connected to the next."""
    profiler, exporter = FakeProfiler(), FakeExporter(results=["a file"])
    source = Source(Task("t", "FAKE"))
    parts = Parts([FakeDiscoverer(processes=[this_process()])], [profiler], [exporter], [source])
    agent = Agent(parts, QUICK)
    running = asyncio.create_task(agent.run())
    await until(lambda: len(exporter.batches) >= 3)
    agent.request_stop()
    agent.request_stop()
    outcome = await running
    assert outcome.results == ["a file"]
    assert outcome.failures == {}
    assert source.saw_process
    assert source.cancelled
    assert profiler.called("close") == 1
    assert exporter.batches[-1].last
    total = len(exporter.batches)
    assert (
        outcome.ledger.profilers == {"FAKE": Completeness(total, total)} == {"FAKE": outcome.ledger.exporters["fake"]}
    )


async def test_it_ends_when_all_tasks_are_over() -> None:
    """Broken: `rover profile` waits for Ctrl-C."""
    agent = Agent(Parts(profilers=[FakeProfiler()]), QUICK)
    agent.submit(Task("a", "FAKE", duration_ns=1))
    agent.submit(Task("b", "NONE", duration_ns=1))
    outcome = await agent.run(until_idle=True)
    assert set(outcome.failures) == {"b"}


async def test_a_task_source_that_fails_leaves_the_agent() -> None:
    """Broken: a backend's bug ends the profiling that others ordered."""
    profiler, exporter = FakeProfiler(), FakeExporter()
    source = Source(Task("t", "FAKE"), ValueError("a bug"))
    agent = Agent(Parts([FakeDiscoverer(processes=[this_process()])], [profiler], [exporter], [source]), QUICK)
    running = asyncio.create_task(agent.run())
    await until(lambda: exporter.batches)
    agent.cancel("t")
    await until(lambda: exporter.batches[-1].last)
    agent.request_stop()
    await running


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signals_drain_and_end(number: signal.Signals) -> None:
    """Broken: Ctrl-C or systemd's stop loses what was profiled since the last flush."""
    exporter = FakeExporter()
    agent = Agent(Parts(profilers=[FakeProfiler()], exporters=[exporter]), Timing())
    agent.submit(Task("t", "FAKE"))
    running = asyncio.create_task(agent.run())
    await until(lambda: agent.tasks.running)
    os.kill(os.getpid(), number)
    await running
    assert [batch.last for batch in exporter.batches] == [True]


async def test_it_ends_in_time_whatever_plugins_do() -> None:
    """Broken: a profiler and an exporter that hang keep the agent alive until it is killed, and all is lost."""
    stuck, good = FakeProfiler("STUCK"), FakeProfiler("GOOD")
    stuck.hanging = {"stop"}
    slow, quick = FakeExporter("slow"), FakeExporter("quick", ["a file"])
    slow.hanging = {"start"}
    agent = Agent(Parts(profilers=[stuck, good], exporters=[slow, quick]), QUICK)
    agent.submit(Task("s", "STUCK"))
    agent.submit(Task("g", "GOOD"))
    running = asyncio.create_task(agent.run())
    try:
        await until(lambda: len(agent.tasks.running) == 2)
        begin = time.monotonic()
        agent.request_stop()
        outcome: Outcome = await running
        assert time.monotonic() - begin < STOP_WITHIN_S + 3, "the fakes hang for thirty seconds"
        assert outcome.results == ["a file"]
        assert [batch.task_id for batch in quick.batches if batch.last] == ["g"]
        assert Loss.EXPORTER_DOWN in outcome.ledger.exporters["slow"].lost
    finally:
        stuck.release.set()


async def test_twenty_agents_leave_no_thread() -> None:
    """Broken: an embedding program that starts and stops agents runs out of threads."""
    before = threading.active_count()
    for number in range(20):
        agent = Agent(Parts(profilers=[FakeProfiler()]), QUICK)
        agent.submit(Task(str(number), "FAKE", duration_ns=1))
        await agent.run(until_idle=True)
    await until(lambda: threading.active_count() <= before + 8)  # asyncio's own pool may stay


PROGRAM = """
import sys
from rover_core.agent import Agent, Parts, Timing
from rover_core.cli.ending import leave
from rover_core.agent import run_to_end
from rover_core.model import Task
from rover_core.testing import FakeExporter, FakeProfiler
async def main():
    profiler = FakeProfiler()
    profiler.hanging = {sys.argv[1]}
    agent = Agent(Parts(profilers=[profiler], exporters=[FakeExporter()]), Timing())
    agent.submit(Task("t", "FAKE"))
    print("ready", flush=True)
    await agent.run()
    print("over", flush=True)
run_to_end(main())
leave(0)
"""


@pytest.mark.parametrize("method", ["start", "stop", "close"])
def test_a_thread_that_hangs_does_not_keep_the_process(method: str) -> None:
    """Broken: SIGTERM to an agent whose compiler hangs is answered after minutes: threads are waited for at exit."""
    with Popen([sys.executable, "-c", PROGRAM, method], stdout=PIPE, stderr=PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        time.sleep(0.5)  # into `run`; were it too short, the signal would end the program with another status
        program.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        output, errors = program.communicate(timeout=25)
        assert program.returncode == 0, errors
        assert time.monotonic() - begin < 12, "the fake hangs for thirty seconds"
        assert output.splitlines()[-1] == "over"
        assert "Traceback" not in errors
        assert "was destroyed" not in errors
