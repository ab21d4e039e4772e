"""The agent: one asyncio process that discovers, runs tasks, and sends their results on their way."""

import asyncio
import signal
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rover_core.api import Batch, Discoverer, Exporter, Profiler, TaskSource
from rover_core.ledger import Ledger
from rover_core.logs import get_logger
from rover_core.model import Process, Task
from rover_core.pipeline import Pipeline
from rover_core.processes import ProcessRegistry
from rover_core.tasks import TaskManager

log = get_logger("agent")

STOP_WITHIN_S = 5.0
"""From SIGINT or SIGTERM to the end: half for the profilers' last drain, half for the exporters."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What an agent is made of."""

    discoverers: Sequence[Discoverer] = ()
    profilers: Sequence[Profiler] = ()
    exporters: Sequence[Exporter] = ()
    task_sources: Sequence[TaskSource] = ()


@dataclass(frozen=True, slots=True)
class Timing:
    """Intervals of the agent's loops, in nanoseconds, and the length of the exporters' queues, in batches."""

    flush_interval_ns: int = 5_000_000_000
    scan_period_ns: int = 3_000_000_000
    queue_size: int = 64


@dataclass(slots=True)
class Outcome:
    """What a run left behind: the ledger, what exporters want a person to see, and tasks that failed."""

    ledger: Ledger
    results: list[str] = field(default_factory=list)
    failures: dict[str, Exception] = field(default_factory=dict)


class Agent:
    """Implements `rover_core.api.AgentContext` for its task sources and exporters."""

    def __init__(self, parts: Parts, timing: Timing = Timing()) -> None:
        self.ledger = Ledger()
        self._parts = parts
        self._timing = timing
        self._registry = ProcessRegistry(parts.discoverers)
        self._pipeline = Pipeline(parts.exporters, self.ledger, timing.queue_size)
        self.tasks = TaskManager(parts.profilers, self._publish)
        self._stopping = asyncio.Event()

    @property
    def processes(self) -> Collection[Process]:
        return self._registry.processes

    def find_process(self, pid: int) -> Process | None:
        return self._registry.find(pid)

    def submit(self, task: Task) -> None:
        self.tasks.submit(task)

    def cancel(self, task_id: str) -> None:
        self.tasks.cancel(task_id)

    def _publish(self, batch: Batch) -> None:
        self._pipeline.publish(batch)

    def request_stop(self) -> None:
        """End the run: tasks are drained, exporters finish. Safe to call twice."""
        self._stopping.set()

    async def run(self, *, until_idle: bool = False) -> Outcome:
        """Run until `request_stop`, SIGINT or SIGTERM, or with until_idle until every submitted task is over."""
        with _signals(self.request_stop):
            loops = [
                asyncio.create_task(self.tasks.keep_flushing(self._timing.flush_interval_ns)),
                asyncio.create_task(self.tasks.keep_ticking()),
            ]
            if self._parts.discoverers:
                loops.append(asyncio.create_task(self._keep_scanning()))
            await self._pipeline.start(self)
            sources = [asyncio.create_task(self._run_source(source)) for source in self._parts.task_sources]
            try:
                await self._until(until_idle)
                return await self._stop()
            finally:
                for loop in (*loops, *sources):
                    loop.cancel()
                await asyncio.gather(*loops, *sources, return_exceptions=True)

    async def _until(self, until_idle: bool) -> None:
        waiters = [asyncio.create_task(self._stopping.wait())]
        if until_idle:
            waiters.append(asyncio.create_task(self.tasks.idle.wait()))
        await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        for waiter in waiters:
            waiter.cancel()

    async def _keep_scanning(self) -> None:
        await self._registry.keep_scanning(self._timing.scan_period_ns)

    async def _run_source(self, source: TaskSource) -> None:
        try:
            await source.run(self)
        except Exception as error:  # a plugin's, whatever it is: other sources go on  # noqa: BLE001
            log.error("task source failed", source=source.name, reason=str(error))

    async def _stop(self) -> Outcome:
        outcome = Outcome(self.ledger)
        try:
            async with asyncio.timeout(STOP_WITHIN_S / 2):
                await self.tasks.stop()
        except TimeoutError:
            log.error("profilers did not finish in time", seconds=STOP_WITHIN_S / 2)
        outcome.results = await self._pipeline.stop(STOP_WITHIN_S / 2)
        outcome.failures = dict(self.tasks.failures)
        return outcome


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGINT and SIGTERM call `stop` while this is entered."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
