"""The life of tasks, with profilers that are not there. Nothing depends on how fast this machine is."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

import rover_core.tasks
from rover_core import procfs
from rover_core.api import Batch
from rover_core.errors import RoverError, UsageError
from rover_core.model import ProcessKey, Task
from rover_core.tasks import COMMAND_LINE, TaskManager
from rover_core.testing import FakeProfiler, this_process

MINUTE_NS = 60_000_000_000


class Desk:
    """A manager, what it published, and its fakes."""

    def __init__(self, *profilers: FakeProfiler) -> None:
        self.published: list[Batch] = []
        self.manager = TaskManager(profilers, self.published.append)

    def ids(self) -> list[str]:
        return [batch.task_id for batch in self.published]

    def lasts(self) -> list[str]:
        return [batch.task_id for batch in self.published if batch.last]


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops that turn often, so that tests need not wait."""
    monkeypatch.setattr(rover_core.tasks, "TICK_S", 0.01)
    monkeypatch.setattr(rover_core.tasks, "ALIVE_CHECK_S", 0.01)


async def until(condition: Callable[[], object], within_s: float = 20) -> None:
    """Wait for something that must come; the limit is for what is broken, not for what is slow."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def looping(manager: TaskManager, flush_ns: int = 10_000_000) -> AsyncIterator[None]:
    loops = [asyncio.create_task(manager.keep_flushing(flush_ns)), asyncio.create_task(manager.keep_ticking())]
    try:
        yield
        assert not any(loop.done() for loop in loops), "a loop ended"
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)


async def test_a_task_starts_at_once_and_ends_after_its_duration() -> None:
    """Broken: `--duration` is ignored, or the last profile is not published."""
    profiler = FakeProfiler()
    desk = Desk(profiler)
    started = time.monotonic()
    desk.manager.submit(Task("a", "FAKE", duration_ns=50_000_000))
    assert not desk.manager.idle.is_set()
    await desk.manager.idle.wait()
    assert time.monotonic() - started >= 0.05
    assert profiler.calls == [("start", "a"), ("stop", "a")]
    assert desk.lasts() == ["a"]
    assert desk.manager.failures == {}


async def test_a_start_time_to_come_is_waited_for() -> None:
    """Broken: a backend's task for later is profiled now."""
    profiler = FakeProfiler()
    desk = Desk(profiler)
    due_ns = time.time_ns() + 200_000_000
    desk.manager.submit(Task("a", "FAKE", start_ns=due_ns, duration_ns=1))
    await until(lambda: profiler.called("start"))
    assert time.time_ns() >= due_ns
    await desk.manager.idle.wait()
    assert desk.lasts() == ["a"]


async def test_the_duration_counts_from_the_actual_start() -> None:
    """Broken: a compilation of two seconds eats a profile of two seconds."""
    profiler = FakeProfiler()
    profiler.hanging = {"start"}
    desk = Desk(profiler)
    desk.manager.submit(Task("a", "FAKE", duration_ns=50_000_000))
    await until(lambda: profiler.called("start"))
    await asyncio.sleep(0.1)  # longer than the duration
    assert profiler.called("stop") == 0
    released = time.monotonic()
    profiler.release.set()
    await desk.manager.idle.wait()
    assert time.monotonic() - released >= 0.05


async def test_a_task_cancelled_before_its_start_never_starts() -> None:
    """Broken: what was taken back is profiled."""
    profiler = FakeProfiler()
    desk = Desk(profiler)
    desk.manager.submit(Task("a", "FAKE", start_ns=time.time_ns() + MINUTE_NS))
    await asyncio.sleep(0)
    desk.manager.cancel("a")
    desk.manager.cancel("never heard of")
    await desk.manager.idle.wait()
    assert profiler.calls == []
    assert desk.published == []


async def test_a_cancelled_task_keeps_what_it_saw() -> None:
    """Broken: a backend's cancel throws the profile away."""
    profiler = FakeProfiler()
    desk = Desk(profiler)
    desk.manager.submit(Task("a", "FAKE"))
    await until(lambda: desk.manager.running)
    desk.manager.cancel("a")
    await desk.manager.idle.wait()
    assert desk.lasts() == ["a"]


async def test_the_same_task_again_with_more_time_is_prolonged() -> None:
    """Broken: a keep-alive restarts the profiler, or does not keep the task alive (contract section 4)."""
    profiler = FakeProfiler()
    desk = Desk(profiler)
    desk.manager.submit(Task("a", "FAKE", duration_ns=MINUTE_NS, settings={"period": "1ms"}))
    await until(lambda: desk.manager.running)
    desk.manager.submit(Task("a", "FAKE", duration_ns=2 * MINUTE_NS, settings={"period": "1ms"}))
    (running,) = desk.manager.running
    assert running.duration_ns == 2 * MINUTE_NS
    desk.manager.submit(Task("a", "FAKE", duration_ns=1, settings={"period": "1ms"}))  # and shortened, too
    await desk.manager.idle.wait()
    assert profiler.calls == [("start", "a"), ("stop", "a")]


async def test_the_same_id_with_other_content_replaces() -> None:
    """Broken: the old task goes on, its last profile is lost, or both run at once."""
    profiler = FakeProfiler()
    desk = Desk(profiler)
    desk.manager.submit(Task("a", "FAKE", settings={"period": "1ms"}))
    await until(lambda: desk.manager.running)
    desk.manager.submit(Task("a", "FAKE", settings={"period": "2ms"}))
    await until(lambda: profiler.called("start") == 2)
    assert profiler.calls == [("start", "a"), ("stop", "a"), ("start", "a")]
    assert profiler.running["a"].settings == {"period": "2ms"}
    assert not desk.manager.idle.is_set()
    await desk.manager.stop()
    assert desk.lasts() == ["a", "a"]


async def test_a_task_sent_again_while_it_ends_runs_again() -> None:
    """Broken: a task that is re-sent in the moment of its end is taken for the one that is ending, and lost."""
    profiler = FakeProfiler()
    profiler.hanging = {"stop"}
    desk = Desk(profiler)
    desk.manager.submit(Task("a", "FAKE", duration_ns=1))
    await until(lambda: profiler.called("stop"))
    desk.manager.submit(Task("a", "FAKE", duration_ns=1))
    profiler.release.set()
    await desk.manager.idle.wait()
    assert profiler.called("start") == 2
    assert desk.lasts() == ["a", "a"]


async def test_the_exit_of_all_processes_ends_a_task() -> None:
    """Broken: a task of a process that has exited runs on for its whole duration, or its samples are lost."""
    profiler = FakeProfiler()
    desk = Desk(profiler)
    with subprocess.Popen(["sleep", "60"]) as child:
        key = procfs.process_key(child.pid)
        assert key is not None
        async with looping(desk.manager):
            desk.manager.submit(Task("a", "FAKE", (key,), duration_ns=MINUTE_NS))
            await until(lambda: desk.manager.running)
            child.kill()
            child.wait()
            await desk.manager.idle.wait()
    assert "a" in desk.manager.exited
    assert desk.lasts() == ["a"]


@pytest.mark.parametrize("failing", [False, True])
async def test_the_exit_of_one_process_leaves_the_others(failing: bool) -> None:
    """Broken: one exit ends a task, or a profiler that fails at it stops the watch over all tasks."""
    profiler = FakeProfiler()
    profiler.failures = {"forget": ValueError("a bug")} if failing else {}
    desk = Desk(profiler)
    with subprocess.Popen(["sleep", "60"]) as child:
        key = procfs.process_key(child.pid)
        assert key is not None
        async with looping(desk.manager):
            desk.manager.submit(Task("a", "FAKE", (key, this_process().key)))
            await until(lambda: desk.manager.running)
            child.kill()
            child.wait()
            await until(lambda: profiler.called("forget"))
            ticks = profiler.called("tick")
            await until(lambda: profiler.called("tick") > ticks)
            assert desk.manager.running
            await desk.manager.stop()
    assert desk.manager.exited == {}


async def test_a_process_that_is_gone_before_the_start_is_said() -> None:
    """Broken: a pid that was used anew is profiled in place of the process that had it."""
    desk = Desk(FakeProfiler())
    stranger = ProcessKey(this_process().pid, 1)
    desk.manager.submit(Task("a", "FAKE", (stranger,)))
    await desk.manager.idle.wait()
    assert "has exited" in str(desk.manager.failures["a"])


async def test_only_those_alive_are_started() -> None:
    """Broken: one process that has exited keeps the others from being profiled."""
    profiler = FakeProfiler()
    desk = Desk(profiler)
    desk.manager.submit(Task("a", "FAKE", (ProcessKey(1, 999_999_999), this_process().key), duration_ns=1))
    await desk.manager.idle.wait()
    assert [process.pid for process in profiler.processes["a"] or ()] == [this_process().pid]


@pytest.mark.parametrize("error", [RoverError("no way", why="because"), UsageError("bad"), ValueError("a bug")])
async def test_a_profiler_that_fails_to_start_fails_its_task_alone(error: Exception) -> None:
    """Broken: one task's failure ends another's, or nobody learns the reason."""
    bad, good = FakeProfiler("BAD"), FakeProfiler("GOOD")
    bad.failures = {"start": error}
    desk = Desk(bad, good)
    desk.manager.submit(Task("b", "BAD"))
    desk.manager.submit(Task("g", "GOOD", duration_ns=50_000_000))
    await desk.manager.idle.wait()
    assert set(desk.manager.failures) == {"b"}
    failure = desk.manager.failures["b"]
    assert failure is error or str(failure) == "the profiler BAD failed: ValueError: a bug"
    assert bad.called("stop") == 0
    assert desk.lasts() == ["g"]


async def test_a_profiler_that_fails_to_drain_or_tick_is_asked_again() -> None:
    """Broken: one failed drain ends all deliveries, of other profilers too."""
    bad, good = FakeProfiler("BAD"), FakeProfiler("GOOD")
    bad.failures = {"drain": ValueError("a bug"), "tick": ValueError("a bug")}
    desk = Desk(bad, good)
    async with looping(desk.manager):
        desk.manager.submit(Task("b", "BAD"))
        desk.manager.submit(Task("g", "GOOD"))
        await until(lambda: bad.called("drain") >= 2 and bad.called("tick") >= 2 and desk.ids().count("g") >= 2)
        bad.failures = {}
        await until(lambda: desk.ids().count("b") >= 1)
        await desk.manager.stop()
    assert sorted(desk.lasts()) == ["b", "g"]


async def test_a_profiler_that_fails_to_stop_fails_its_task() -> None:
    """Broken: the end of a task is waited for in vain, or its failure is silent."""
    profiler = FakeProfiler()
    profiler.failures = {"stop": ValueError("a bug")}
    desk = Desk(profiler)
    desk.manager.submit(Task("a", "FAKE", duration_ns=1))
    await desk.manager.idle.wait()
    assert "a bug" in str(desk.manager.failures["a"])


async def test_a_profiler_that_fails_to_close_leaves_the_others() -> None:
    """Broken: a bug in one plugin's close keeps the agent from ending in order, and everything is lost."""
    bad, good = FakeProfiler("BAD"), FakeProfiler("GOOD")
    bad.failures = {"close": ValueError("a bug")}
    desk = Desk(bad, good)
    await desk.manager.stop()
    assert bad.called("close") == good.called("close") == 1


async def test_a_profiler_that_hangs_holds_up_no_other() -> None:
    """Broken: one compilation that takes a minute keeps all other profilers from delivering and ending."""
    stuck, good = FakeProfiler("STUCK"), FakeProfiler("GOOD")
    stuck.hanging = {"start"}
    desk = Desk(stuck, good)
    try:
        async with looping(desk.manager):
            desk.manager.submit(Task("s", "STUCK"))
            desk.manager.submit(Task("g", "GOOD"))
            await until(lambda: desk.ids().count("g") >= 2)
            ending = asyncio.create_task(desk.manager.stop())
            await until(lambda: good.called("close"))
            assert not ending.done()
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)
        assert desk.lasts() == ["g"]
    finally:
        stuck.release.set()


async def test_an_unknown_profiler_names_the_extra() -> None:
    """Broken: nobody learns which package is missing."""
    desk = Desk(FakeProfiler())
    desk.manager.submit(Task("a", "OFF_CPU"))
    await desk.manager.idle.wait()
    text = str(desk.manager.failures["a"])
    assert "no profiler OFF_CPU" in text
    assert "FAKE" in text
    assert "pip install 'rover-agent[offcpu]'" in text


async def test_an_agent_that_ends_takes_no_new_tasks() -> None:
    """Broken: a task that arrives during the last seconds keeps the agent alive, or ends in a traceback."""
    profiler = FakeProfiler()
    desk = Desk(profiler)
    await desk.manager.stop()
    desk.manager.submit(Task("late", "FAKE"))
    assert desk.manager.idle.is_set()
    assert profiler.called("start") == 0


async def test_failures_are_remembered_for_a_while_only() -> None:
    """Broken: an agent that a backend sends faulty tasks for weeks grows."""
    desk = Desk()
    for number in range(300):
        desk.manager.submit(Task(str(number), "NONE"))
    await desk.manager.idle.wait()
    assert 50 <= len(desk.manager.failures) <= 100
    assert "299" in desk.manager.failures


async def test_failures_of_the_command_line_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: the person at the terminal reads the same failure as a log line and as a sentence."""
    from rover_core.logs import configure_logs

    configure_logs("WARNING", "json")
    desk = Desk()
    desk.manager.submit(Task("mine", "NONE", trigger=COMMAND_LINE))
    desk.manager.submit(Task("backend's", "NONE", trigger="backend"))
    await desk.manager.idle.wait()
    (line,) = capsys.readouterr().err.splitlines()
    assert "backend's" in line
