"""A real agent with a profiler that needs no kernel, between a host of one process and a real gRPC server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from rover_core.agent import Agent, Outcome, Parts, Timing
from rover_core.model import Entity, Process, StackSample
from rover_core.testing import FakeDiscoverer, FakeProfiler, make_sample, this_process
from rover_exporter_skywalking.backend import Backend as Client

FLUSH_NS = 50_000_000
NAME = "shop"


def profiled_process() -> Process:
    """This very process (tasks are only run for the living), as the backend is to see it."""
    return replace(this_process(), entities=(Entity("OS_LINUX", "shop", "host", NAME),))


def its_sample(*stack: str, count: int = 1) -> StackSample:
    return replace(make_sample(count=count, stack=stack or ("work", "main")), process=this_process().key)


@dataclass
class Live:
    """An agent at work."""

    agent: Agent
    client: Client
    profiler: FakeProfiler
    running: "asyncio.Task[Outcome]"

    @property
    def seen(self) -> int:
        """Samples that the profiler has delivered."""
        return sum(entry.kept for entry in self.agent.ledger.profilers.values())

    @property
    def lost(self) -> dict[Any, int]:
        entry = self.agent.ledger.exporters.get("skywalking")
        return dict(entry.lost) if entry else {}

    async def settle(self, delivered: Callable[[], int]) -> None:
        """End the tasks, and wait until all that they saw was delivered."""
        for task in list(self.profiler.running):
            self.agent.cancel(task)
        await until(lambda: not self.profiler.running)
        await until(lambda: delivered() >= self.seen, 40)

    async def end(self) -> Outcome:
        self.agent.request_stop()
        return await asyncio.wait_for(self.running, 20)


@asynccontextmanager
async def living(settings: Any, *samples: StackSample, processes: list[Process] | None = None) -> AsyncIterator[Live]:
    """An agent from its start; ended, if the test has not done so."""
    client = Client(settings)
    profiler = FakeProfiler("ON_CPU", samples or (its_sample(),))
    discoverer = FakeDiscoverer(processes=processes or [profiled_process()])
    parts = Parts([discoverer], [profiler], [client.exporter], [client.source])
    agent = Agent(parts, Timing(flush_interval_ns=FLUSH_NS, scan_period_ns=FLUSH_NS))
    live = Live(agent, client, profiler, asyncio.create_task(agent.run()))
    try:
        yield live
    finally:
        if not live.running.done():
            await live.end()


async def until(condition: Callable[[], object], within_s: float = 20) -> None:
    """Wait for what must come; the limit is for what is broken, not for what is slow."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)
