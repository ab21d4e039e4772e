"""What discovery knows of processes reaches the profilers."""

import asyncio
from collections.abc import Collection
from dataclasses import replace

from rover_core.model import Entity, Process, ProcessKey, Task
from rover_core.processes import ProcessRegistry
from rover_core.tasks import TaskManager
from rover_core.testing import FakeDiscoverer, FakeProfiler, this_process

SHOP = Entity("K8S_SERVICE", "shop", "pod", "app")


class Informed(FakeProfiler):
    """A profiler that wants to know all processes."""

    def __init__(self) -> None:
        super().__init__()
        self.known: list[dict[ProcessKey, Process]] = []

    def inform(self, processes: Collection[Process]) -> None:
        self._enter("inform")
        self.known.append({process.key: process for process in processes})


def discovered() -> Process:
    return replace(this_process(), entities=(SHOP,))


async def started(manager: TaskManager, task: Task) -> None:
    manager.submit(task)
    while not manager.running and task.id not in manager.failures:
        await asyncio.sleep(0.005)


async def test_a_tasks_processes_come_as_discovery_knows_them() -> None:
    """Broken: a profiler does not know which services its processes belong to, so a backend gets nothing."""
    profiler = FakeProfiler()
    manager = TaskManager([profiler], lambda batch: None)
    manager.inform([discovered()])
    await started(manager, Task("one", "FAKE", (this_process().key,)))
    assert profiler.processes["one"] == [discovered()]
    await manager.stop()


async def test_all_processes_are_told_before_a_task_and_after_each_scan() -> None:
    """Broken: a task about the whole host never learns of entities, or only of those there were at its start."""
    profiler = Informed()
    manager = TaskManager([profiler], lambda batch: None)
    discoverer = FakeDiscoverer(processes=[])
    registry = ProcessRegistry([discoverer], manager.inform)
    await registry.scan()
    await started(manager, Task("all", "FAKE"))
    assert profiler.calls[:2] == [("inform", ""), ("start", "all")]
    discoverer.found = [discovered()]
    await registry.scan()
    while len(profiler.known) < 2:
        await asyncio.sleep(0.005)
    assert profiler.known[-1] == {discovered().key: discovered()}
    await manager.stop()


async def test_a_profiler_that_chokes_on_it_goes_on() -> None:
    """Broken: a profiler that fails when it is informed gets no task any more, or delays discovery."""
    profiler = Informed()
    profiler.failures["inform"] = ValueError("what is this")
    manager = TaskManager([profiler], lambda batch: None)
    manager.inform([discovered()])
    await started(manager, Task("one", "FAKE"))
    assert not manager.failures
    profiler.failures.clear()
    profiler.hanging.add("inform")
    for _ in range(5):
        manager.inform([discovered()])
        await asyncio.sleep(0)
    assert profiler.called("inform") <= 2, "one that hangs is not told again and again"
    profiler.release.set()
    await manager.stop()
