"""What task sources may ask of an agent beside running tasks: states, requests, and publishing of their own."""

import asyncio
from collections.abc import Sequence

import pytest

from rover_core.agent import Agent, Parts
from rover_core.api import Batch, Observation, RequestSums, RequestWatch, TaskState
from rover_core.errors import RoverError
from rover_core.model import Profile, Task
from rover_core.policies import Uri
from rover_core.tasks import TaskManager
from rover_core.testing import FakeExporter, FakeProfiler, make_telemetry

WATCH = RequestWatch(Uri(path="/a"), frozenset({7}))
SUMS = RequestSums(Uri(path="/a"), 7, 100, 3, 1, 5)


class Observing(FakeProfiler):
    """A profiler of connections."""

    def observe(self, watches: Sequence[RequestWatch]) -> Observation:
        self._enter("observe")
        return Observation((SUMS,)) if watches else Observation()


async def test_the_profiler_that_can_adds_up_requests() -> None:
    """Broken: another profiler is asked, or nobody says why requests are not watched."""
    manager = TaskManager([FakeProfiler("OTHER"), Observing("NETWORK")], lambda batch: None)
    assert await manager.observe([WATCH]) == Observation((SUMS,))
    assert await manager.observe([]) == Observation()
    await manager.stop()
    unable = TaskManager([FakeProfiler()], lambda batch: None)
    assert await unable.observe([]) == Observation()
    with pytest.raises(RoverError, match="requests cannot be watched"):
        await unable.observe([WATCH])
    await unable.stop()


async def test_states_and_attributes_of_tasks() -> None:
    """Broken: who began a task cannot tell one that runs from one that never could, or its causes are lost."""
    profiler, batches = FakeProfiler(), list[Batch]()
    manager = TaskManager([profiler], batches.append)
    profiler.hanging.add("start")
    manager.submit(Task("a", "FAKE", attributes={"causes": "too much"}))
    await asyncio.sleep(0)
    assert manager.state("a") is TaskState.WAITING
    profiler.hanging.clear()
    profiler.release.set()
    async with asyncio.timeout(20):
        while manager.state("a") is not TaskState.RUNNING:
            await asyncio.sleep(0.005)
        flushing = asyncio.create_task(manager.keep_flushing(10_000_000))
        while len(batches) < 2:
            await asyncio.sleep(0.005)
        manager.cancel("a")
        while manager.state("a") is not TaskState.OVER:
            await asyncio.sleep(0.005)
        flushing.cancel()
        profiler.failures["start"] = RoverError("no")
        manager.submit(Task("b", "FAKE"))
        while manager.state("b") is not TaskState.FAILED:
            await asyncio.sleep(0.005)
    assert {batch.attributes.get("causes") for batch in batches} == {"too much"}
    assert isinstance(batches[-1], Profile)
    assert batches[-1].last
    await manager.stop()


async def test_what_a_source_publishes_reaches_the_exporters() -> None:
    """Broken: metrics that no profiler measures have no way to a backend, or the ledger does not know them."""
    exporter = FakeExporter()
    agent = Agent(Parts(exporters=[exporter]))
    running = asyncio.create_task(agent.run())
    await asyncio.sleep(0.05)
    agent.publish(make_telemetry(task_id="", profiler="CONTINUOUS"))
    assert await agent.observe([]) == Observation()
    assert agent.task_state("none") is TaskState.OVER
    async with asyncio.timeout(20):
        while not exporter.batches:
            await asyncio.sleep(0.005)
    agent.request_stop()
    outcome = await running
    assert "CONTINUOUS" in outcome.ledger.profilers
