"""Stand-ins that record what is asked of them, and fail or hang where told to."""

import asyncio
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence

from rover_core.api import Batch, Observation, RequestWatch, TaskState
from rover_core.model import Loss, Process, ProcessKey, Profile, StackSample, Task
from rover_core.testing.records import make_profile, make_sample

_HANGS_S = 30.0  # at most: a test that failed must not leave a thread behind for ever


class FakeProfiler:
    """A profiler without a kernel: each drain and each stop delivers `samples` for every running task.

    calls: (method, task's id or "") in order. failures: method -> what it raises. hanging: methods that do not
    return before `release` is set.
    """

    def __init__(self, name: str = "FAKE", samples: Sequence[StackSample] = (make_sample(),)) -> None:
        self.name = name
        self.flush_interval_ns: int | None = None
        self.samples = tuple(samples)
        self.calls: list[tuple[str, str]] = []
        self.failures: dict[str, Exception] = {}
        self.hanging: set[str] = set()
        self.release = threading.Event()
        self.running: dict[str, Task] = {}
        self.processes: dict[str, Sequence[Process] | None] = {}
        self._since_ns: dict[str, int] = {}

    def called(self, method: str) -> int:
        """How often a method was called."""
        return sum(name == method for name, _ in self.calls)

    def _enter(self, method: str, task_id: str = "") -> None:
        self.calls.append((method, task_id))
        if method in self.hanging:
            self.release.wait(_HANGS_S)
        if method in self.failures:
            raise self.failures[method]

    def start(self, task: Task, processes: Sequence[Process] | None) -> None:
        self._enter("start", task.id)
        self.running[task.id] = task
        self._since_ns[task.id] = time.time_ns()
        self.processes[task.id] = processes

    def forget(self, task_id: str, process: ProcessKey) -> None:
        self._enter("forget", task_id)

    def tick(self) -> None:
        self._enter("tick")

    def drain(self) -> Sequence[Profile]:
        self._enter("drain")
        return [self._profile(task_id) for task_id in self.running]

    def stop(self, task_id: str) -> Profile | None:
        self._enter("stop", task_id)
        return self._profile(task_id, last=True) if self.running.pop(task_id, None) else None

    def close(self) -> None:
        self._enter("close")
        self.running.clear()

    def _profile(self, task_id: str, last: bool = False) -> Profile:
        start_ns, now_ns = self._since_ns[task_id], time.time_ns()
        self._since_ns[task_id] = now_ns
        span = {"start_ns": start_ns, "end_ns": now_ns}
        return make_profile(*self.samples, task_id=task_id, profiler=self.name, last=last, **span)


class FakeExporter:
    """Keeps the batches it is given. failures and hanging as with `FakeProfiler`; hanging methods can be cancelled.

    results: what its stop returns.
    """

    def __init__(self, name: str = "fake", results: Sequence[str] = ()) -> None:
        self.name = name
        self.results = results
        self.batches: list[Batch] = []
        self.failures: dict[str, Exception] = {}
        self.hanging: set[str] = set()
        self.stopped = False

    async def _enter(self, method: str) -> None:
        if method in self.hanging:
            await asyncio.sleep(_HANGS_S)
        if method in self.failures:
            raise self.failures[method]

    async def start(self, context: object) -> None:
        await self._enter("start")

    async def export(self, batch: Batch) -> None:
        await self._enter("export")
        self.batches.append(batch)

    async def stop(self) -> Sequence[str]:
        await self._enter("stop")
        self.stopped = True
        return self.results


class FakeDiscoverer:
    """Finds what it was made with; `failure`, if set, is raised instead."""

    def __init__(self, name: str = "fake", processes: Iterable[Process] = ()) -> None:
        self.name = name
        self.found = list(processes)
        self.failure: Exception | None = None

    def scan(self) -> Iterable[Process]:
        if self.failure:
            raise self.failure
        return self.found


class FakeContext:
    """An `AgentContext` for task sources and exporters: tasks are kept, by id, and never run.

    lost: samples by (exporter, cause). published: batches, in order. states: of tasks, RUNNING unless set here.
    watched: what is to be observed since the last call; observations: what calls return, the next one first.
    """

    def __init__(self, processes: Iterable[Process] = (), profilers: Collection[str] = ("FAKE",)) -> None:
        self.profilers = profilers
        self._processes: Mapping[int, Process] = {}
        self.find(processes)
        self.tasks: dict[str, Task] = {}
        self.cancelled: list[str] = []
        self.lost: dict[tuple[str, Loss], int] = {}
        self.published: list[Batch] = []
        self.states: dict[str, TaskState] = {}
        self.watched: Sequence[RequestWatch] = ()
        self.observations: list[Observation] = []

    @property
    def processes(self) -> Collection[Process]:
        return self._processes.values()

    def find(self, processes: Iterable[Process]) -> None:
        """A scan: these, and no others, are there now."""
        self._processes = {process.pid: process for process in processes}

    def find_process(self, pid: int) -> Process | None:
        return self._processes.get(pid)

    def count_lost(self, exporter: str, samples: int, cause: Loss) -> None:
        self.lost[exporter, cause] = self.lost.get((exporter, cause), 0) + samples

    def submit(self, task: Task) -> None:
        self.tasks[task.id] = task

    def task_state(self, task_id: str) -> TaskState:
        return self.states.get(task_id, TaskState.RUNNING if task_id in self.tasks else TaskState.OVER)

    def publish(self, batch: Batch) -> None:
        self.published.append(batch)

    async def observe(self, watches: Sequence[RequestWatch]) -> Observation:
        self.watched = tuple(watches)
        return self.observations.pop(0) if self.observations else Observation()

    def cancel(self, task_id: str) -> None:
        self.cancelled.append(task_id)
