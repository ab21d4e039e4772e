"""The agent: one asyncio process that discovers, runs tasks, and sends their results on their way."""

import asyncio
import signal
import time
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rover_core.api import (
    Batch,
    Discoverer,
    Exporter,
    Observation,
    Profiler,
    RequestWatch,
    Settings,
    TaskSource,
    TaskState,
)
from rover_core.config.sections import PipelineSettings, ProfilingSettings, ScannerSettings
from rover_core.errors import RoverError
from rover_core.ledger import Ledger
from rover_core.logs import get_logger
from rover_core.memory import release_memory
from rover_core.model import Loss, Process, Task
from rover_core.pipeline import Pipeline
from rover_core.processes import ProcessRegistry
from rover_core.tasks import TaskManager

log = get_logger("agent")

STOP_WITHIN_S = 4.5
"""From SIGINT or SIGTERM to the end of `run`; what is left of five seconds is for the interpreter."""
_DRAIN_WITHIN_S = 3.0  # of it, for the profilers' last drain; what is left is the exporters'
_CANCEL_WITHIN_S = 0.5  # for a plugin's task source that does not let itself be cancelled
_STARTED_S = 10.0  # after so long, what start-up needed is given back, also by an agent that waits for its first task
_AT_LEISURE_S = 60.0  # for either, when nobody asked to stop and the tasks are just over
_T = TypeVar("_T")


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


def timing_of(settings: Settings) -> Timing:
    """As it is configured."""
    profiling, scanner = settings.section(ProfilingSettings), settings.section(ScannerSettings)
    return Timing(profiling.flush_interval, scanner.period, settings.section(PipelineSettings).queue_size)


@dataclass(slots=True)
class Outcome:
    """What a run left behind: the ledger, what exporters want a person to see, which tasks failed and why, and which
    ended because their processes had exited."""

    ledger: Ledger
    results: list[str] = field(default_factory=list)
    failures: dict[str, RoverError] = field(default_factory=dict)
    exited: set[str] = field(default_factory=set)


class Agent:
    """Implements `rover_core.api.AgentContext` for its task sources and exporters."""

    def __init__(self, parts: Parts, timing: Timing = Timing()) -> None:
        self.ledger = Ledger()
        self._parts = parts
        self._timing = timing
        self._pipeline = Pipeline(parts.exporters, self.ledger, timing.queue_size)
        self.tasks = TaskManager(parts.profilers, self.publish)
        self._registry = ProcessRegistry(parts.discoverers, self.tasks.inform)
        self._stopping = asyncio.Event()
        self._stop_before_s = float("inf")

    @property
    def processes(self) -> Collection[Process]:
        return self._registry.processes

    @property
    def profilers(self) -> Collection[str]:
        return self.tasks.profilers

    def find_process(self, pid: int) -> Process | None:
        return self._registry.find(pid)

    def submit(self, task: Task) -> None:
        self.tasks.submit(task)

    def cancel(self, task_id: str) -> None:
        self.tasks.cancel(task_id)

    def count_lost(self, exporter: str, samples: int, cause: Loss) -> None:
        self.ledger.lost_later(exporter, samples, cause)

    def task_state(self, task_id: str) -> TaskState:
        return self.tasks.state(task_id)

    async def observe(self, watches: Sequence[RequestWatch]) -> Observation:
        return await self.tasks.observe(watches)

    def publish(self, batch: Batch) -> None:
        self._pipeline.publish(batch)

    def request_stop(self) -> None:
        """End the run: tasks are drained, exporters finish. Safe to call twice."""
        if not self._stopping.is_set():
            self._stop_before_s = time.monotonic() + STOP_WITHIN_S
            self._pipeline.hurry(STOP_WITHIN_S)
        self._stopping.set()

    async def run(self, *, until_idle: bool = False) -> Outcome:
        """Run until `request_stop`, SIGINT or SIGTERM, or with until_idle until every submitted task is over."""
        with _signals(self.request_stop):
            self._pipeline.start(self)
            loops = [
                _spawn("flushing", self.tasks.keep_flushing(self._timing.flush_interval_ns)),
                _spawn("ticking", self.tasks.keep_ticking()),
            ]
            if self._parts.discoverers:
                loops.append(_spawn("scanning", self._registry.keep_scanning(self._timing.scan_period_ns)))
            asyncio.get_running_loop().call_later(_STARTED_S, release_memory)
            sources = [_spawn(source.name, self._run_source(source)) for source in self._parts.task_sources]
            try:
                await self._until(until_idle)
                await _cancel(sources)  # or they would submit tasks to an agent that is ending them
                return await self._stop()
            finally:
                await _cancel([*loops, *sources])

    async def _until(self, until_idle: bool) -> None:
        waiters = [asyncio.create_task(self._stopping.wait())]
        if until_idle:
            waiters.append(asyncio.create_task(self.tasks.idle.wait()))
        await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        for waiter in waiters:
            waiter.cancel()

    async def _run_source(self, source: TaskSource) -> None:
        try:
            await source.run(self)
        except Exception as error:  # a plugin's, whatever it is: other sources go on  # noqa: BLE001
            log.error("task source failed", source=source.name, reason=str(error))

    async def _stop(self) -> Outcome:
        outcome = Outcome(self.ledger)
        patience_s = _DRAIN_WITHIN_S if self._stopping.is_set() else _AT_LEISURE_S
        try:
            async with asyncio.timeout(patience_s):
                await self.tasks.stop()
        except TimeoutError:
            log.error("profilers did not finish in time", seconds=patience_s)
        left_s = self._stop_before_s - time.monotonic()
        outcome.results = await self._pipeline.stop(min(_AT_LEISURE_S, left_s))
        outcome.failures = dict(self.tasks.failures)
        outcome.exited = set(self.tasks.exited)
        return outcome


def run_to_end(main: Coroutine[Any, Any, _T]) -> _T:
    """As asyncio.run, which would however wait for ever for a thread that hangs in a plugin."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=0.2))
        loop.close()


def _spawn(name: str, loop: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run one of the agent's loops. Should it end by an error, which is a bug, the log has it."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception():
            log.error("a part of the agent failed", part=name, reason=repr(task.exception()))

    task = asyncio.create_task(loop, name=name)
    task.add_done_callback(ended)
    return task


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_CANCEL_WITHIN_S)


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
