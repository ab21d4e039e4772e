"""The life of tasks: waiting for their start, running, prolonged, replaced, over.

A task ends when its time is up, when it is cancelled, when all of its processes have exited, or when its profiler
fails; what it saw until then is published in every case.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from rover_core import procfs
from rover_core.api import (
    Batch,
    InformedProfiler,
    Observation,
    ObservingProfiler,
    Profiler,
    RequestWatch,
    TaskState,
)
from rover_core.errors import RoverError
from rover_core.logs import get_logger
from rover_core.memory import release_memory
from rover_core.model import Process, ProcessKey, Task

log = get_logger("tasks")

TICK_S = 0.2
ALIVE_CHECK_S = 1.0
COMMAND_LINE = "command line"
"""The trigger of tasks whose failure the command that ordered them reports itself."""
_REMEMBERED = 100  # failures and exits, of tasks: a backend may send faulty ones for weeks
Result = TypeVar("Result")


@dataclass(slots=True)
class _Running:
    task: Task
    alive: set[ProcessKey] | None
    end: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    driver: asyncio.Task[None] | None = None
    started_s: float = 0.0


class _Desk:
    """A profiler and the one thread it is called from."""

    def __init__(self, profiler: Profiler) -> None:
        self.profiler = profiler
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=profiler.name)
        self.running: set[str] = set()
        self.informing: asyncio.Task[None] | None = None
        self.complaining = False

    async def call(self, method: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, method, *arguments)

    def shutdown(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


class TaskManager:
    """Runs tasks on profilers and publishes their profiles. Used on the event loop only."""

    def __init__(self, profilers: Sequence[Profiler], publish: Callable[[Batch], None]) -> None:
        self._desks: Mapping[str, _Desk] = {profiler.name: _Desk(profiler) for profiler in profilers}
        self._publish = publish
        self._tasks: dict[str, _Running] = {}
        self._discovered: Mapping[ProcessKey, Process] = {}
        self._stopping = False
        self.failures: dict[str, RoverError] = {}
        self.exited: dict[str, None] = {}
        """Ids of tasks that ended because all of their processes had exited."""
        self.idle = asyncio.Event()
        self.idle.set()

    @property
    def profilers(self) -> Sequence[str]:
        return list(self._desks)

    @property
    def running(self) -> Sequence[Task]:
        """Tasks that profile now (not those that wait for their start)."""
        return [entry.task for entry in self._tasks.values() if entry.started_s]

    def submit(self, task: Task) -> None:
        """Start a task, at its start time if that is to come. The same id again replaces the running one:
        with only its time changed it is prolonged, else the old one is ended and the new one begun."""
        if self._stopping:
            log.warning("task refused", task=task.id, reason="the agent is stopping")
            return
        known = self._tasks.get(task.id)
        if known and not known.end.is_set() and replace(known.task, duration_ns=task.duration_ns) == task:
            known.task = task
            known.changed.set()
            return
        entry = _Running(task, None if task.processes is None else set(task.processes))
        self._tasks[task.id] = entry
        self.idle.clear()
        entry.driver = asyncio.create_task(self._drive(entry, known), name=f"task {task.id}")

    def inform(self, processes: Collection[Process]) -> None:
        """What discovery has found now, for tasks to come and for profilers at work that want to know."""
        self._discovered = {process.key: process for process in processes}
        for desk in self._desks.values():
            if desk.running and (desk.informing is None or desk.informing.done()):  # one that hangs holds up nobody
                desk.informing = asyncio.create_task(self._inform(desk), name=f"informing {desk.profiler.name}")

    async def _inform(self, desk: _Desk) -> None:
        if not isinstance(desk.profiler, InformedProfiler):
            return
        try:
            await desk.call(desk.profiler.inform, self._discovered.values())
        except Exception as error:  # a plugin's, whatever it is: it goes on with what it knew  # noqa: BLE001
            log.warning("profiler was not informed", profiler=desk.profiler.name, reason=_text(error))

    def state(self, task_id: str) -> TaskState:
        """Of a task that was submitted."""
        entry = self._tasks.get(task_id)
        if entry is None:
            return TaskState.FAILED if task_id in self.failures else TaskState.OVER
        return TaskState.RUNNING if entry.started_s else TaskState.WAITING

    async def observe(self, watches: Sequence[RequestWatch]) -> Observation:
        """Ask the profiler that can add up requests. Raises RoverError if there is none, and what it raises."""
        for desk in self._desks.values():
            if isinstance(desk.profiler, ObservingProfiler):
                return await desk.call(desk.profiler.observe, watches)
        if watches:
            remedy = "pip install 'rover-agent[network,http1]', or see `rover plugins`"
            raise RoverError("requests cannot be watched", why="no profiler here can", remedy=remedy)
        return Observation()

    def cancel(self, task_id: str) -> None:
        entry = self._tasks.get(task_id)
        if entry:
            entry.end.set()

    async def stop(self) -> None:
        """End every task, publish what it saw and close the profilers. A profiler that hangs delays no other."""
        self._stopping = True
        for entry in self._tasks.values():
            entry.end.set()
        await asyncio.gather(*(self._close(desk) for desk in self._desks.values()))

    async def _close(self, desk: _Desk) -> None:
        entries = [entry for entry in self._tasks.values() if entry.task.profiler == desk.profiler.name]
        try:
            await asyncio.gather(*(entry.driver for entry in entries if entry.driver), return_exceptions=True)
            await desk.call(desk.profiler.close)
        except Exception as error:  # a plugin's, whatever it is: the others are still to be closed  # noqa: BLE001
            log.error("profiler did not close", profiler=desk.profiler.name, reason=_text(error))
        finally:
            desk.shutdown()

    async def _drive(self, entry: _Running, replaced: _Running | None) -> None:
        if replaced and replaced.driver:
            replaced.end.set()
            await asyncio.gather(replaced.driver, return_exceptions=True)
        try:
            if await self._wait_for_start(entry):
                await self._profile(entry)
        except RoverError as error:
            self._fail(entry.task, error)
        except Exception as error:  # a plugin's, whatever it is: the other tasks go on
            log.exception("profiler failed", profiler=entry.task.profiler)
            self._fail(entry.task, RoverError(f"the profiler {entry.task.profiler} failed", why=_text(error)))
        finally:
            if self._tasks.get(entry.task.id) is entry:
                del self._tasks[entry.task.id]
            if not self._tasks:
                self.idle.set()

    def _fail(self, task: Task, error: RoverError) -> None:
        _remember(self.failures, task.id, error)
        report = log.info if task.trigger == COMMAND_LINE else log.error
        report("task failed", task=task.id, profiler=task.profiler, reason=str(error))

    async def _wait_for_start(self, entry: _Running) -> bool:
        """Whether the task is to be started: not if it was cancelled first."""
        wait_s = (entry.task.start_ns - time.time_ns()) / 1e9
        if wait_s > 0:
            await _wait(entry.end, wait_s)
        return not entry.end.is_set()

    async def _profile(self, entry: _Running) -> None:
        task = entry.task
        desk = self._desks.get(task.profiler)
        if desk is None:
            raise RoverError(
                f"no profiler {task.profiler}",
                why=f"installed are: {', '.join(self._desks) or 'none'}",
                remedy=f"pip install 'rover-agent[{task.profiler.lower().replace('_', '')}]', or see `rover plugins`",
            )
        processes = await asyncio.to_thread(_processes_of, task, self._discovered)
        await self._inform(desk)
        await desk.call(desk.profiler.start, task, processes)
        release_memory()
        entry.started_s = time.monotonic()
        if processes is not None:
            entry.alive = {process.key for process in processes}
        desk.running.add(task.id)
        log.info("task started", task=task.id, profiler=task.profiler, trigger=task.trigger)
        try:
            await self._wait_for_end(entry)
        finally:
            entry.end.set()  # from here on a task of the same id is another one
            desk.running.discard(task.id)
            last = await desk.call(desk.profiler.stop, task.id)
            if last is not None:
                self._deliver(last)
            log.info("task ended", task=task.id, profiler=task.profiler)

    async def _wait_for_end(self, entry: _Running) -> None:
        while not entry.end.is_set():
            entry.changed.clear()
            duration_ns = entry.task.duration_ns
            left_s = None if duration_ns is None else entry.started_s + duration_ns / 1e9 - time.monotonic()
            if left_s is not None and left_s <= 0:
                return
            await _wait_any((entry.end, entry.changed), left_s)

    async def keep_flushing(self, interval_ns: int) -> None:
        """Publish what every running task saw, for ever: interval_ns apart, where the profiler has no interval."""
        desks = self._desks.values()
        loops = [self._keep_flushing(desk, (desk.profiler.flush_interval_ns or interval_ns) / 1e9) for desk in desks]
        await asyncio.gather(*loops)

    async def _keep_flushing(self, desk: _Desk, interval_s: float) -> None:
        while True:
            await asyncio.sleep(interval_s)
            if desk.running:
                await self._flush(desk)
                release_memory()

    async def _flush(self, desk: _Desk) -> None:
        try:
            for profile in await desk.call(desk.profiler.drain):
                self._deliver(profile)
        except Exception as error:  # a plugin's, whatever it is: the next drain may work  # noqa: BLE001
            log.error("profiler did not deliver", profiler=desk.profiler.name, reason=_text(error))

    def _deliver(self, batch: Batch) -> None:
        """Publish it, with what its task has to say."""
        entry = self._tasks.get(batch.task_id)
        if entry and entry.task.attributes:
            batch = replace(batch, attributes={**batch.attributes, **entry.task.attributes})
        self._publish(batch)

    async def keep_ticking(self) -> None:
        """Tick the profilers, and end tasks whose processes have exited, for ever."""
        loops = [loop(desk) for desk in self._desks.values() for loop in (self._keep_ticking, self._keep_burying)]
        await asyncio.gather(*loops)

    async def _keep_ticking(self, desk: _Desk) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            if desk.running:
                await self._tick(desk)

    async def _tick(self, desk: _Desk) -> None:
        try:
            await desk.call(desk.profiler.tick)
        except Exception as error:  # a plugin's, whatever it is: its drain will tell if it matters  # noqa: BLE001
            if not desk.complaining:  # once, not five times a second
                log.warning("profiler did not tick", profiler=desk.profiler.name, reason=_text(error))
            desk.complaining = True
        else:
            desk.complaining = False

    async def _keep_burying(self, desk: _Desk) -> None:
        while True:
            await asyncio.sleep(ALIVE_CHECK_S)
            for entry in [self._tasks[task_id] for task_id in desk.running if task_id in self._tasks]:
                await self._bury(entry)

    async def _bury(self, entry: _Running) -> None:
        """Tell the profiler which processes of a task have exited, and end the task if it has none left."""
        if not entry.alive:
            return
        gone = {key for key in entry.alive if procfs.process_key(key.pid) != key}
        entry.alive -= gone
        if not entry.alive:
            # Its profiler need not forget one by one what it is about to stop.
            _remember(self.exited, entry.task.id, None)
            entry.end.set()
            return
        for key in gone:
            log.info("process exited", pid=key.pid, task=entry.task.id)
            await self._forget(entry.task, key)

    async def _forget(self, task: Task, process: ProcessKey) -> None:
        profiler = self._desks[task.profiler].profiler
        try:
            await self._desks[task.profiler].call(profiler.forget, task.id, process)
        except Exception as error:  # a plugin's, whatever it is: there are other processes  # noqa: BLE001
            log.warning("profiler did not forget", profiler=profiler.name, pid=process.pid, reason=_text(error))


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, RoverError) else f"{type(error).__name__}: {error}"


def _remember(notes: dict[str, Result], task_id: str, note: Result) -> None:
    notes[task_id] = note
    while len(notes) > _REMEMBERED:
        del notes[next(iter(notes))]


def _processes_of(task: Task, discovered: Mapping[ProcessKey, Process]) -> list[Process] | None:
    """The task's processes that are alive, as discovered where they were. RoverError if there are none left."""
    if task.processes is None:
        return None
    found = [procfs.read_process(key.pid) for key in task.processes]
    alive = [
        discovered.get(process.key, process)
        for process in found
        if process is not None and process.key in task.processes
    ]
    if not alive:
        pids = ", ".join(str(key.pid) for key in task.processes)
        raise RoverError(f"nothing to profile: process {pids} has exited", remedy="`rover processes` lists what runs")
    return alive


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    await _wait_any((event,), timeout_s)


async def _wait_any(events: Sequence[asyncio.Event], timeout_s: float | None) -> None:
    waiters = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiters, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()
