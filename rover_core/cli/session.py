"""One profile from the command line: an agent with a single task and no exporter but memory."""

import asyncio
import sys
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from rover_core.agent import Agent, Parts, Timing
from rover_core.api import Settings
from rover_core.cli.progress import progress
from rover_core.collector import Collector
from rover_core.config.sections import ProfilingSettings
from rover_core.errors import RoverError
from rover_core.model import Profile, Task

if TYPE_CHECKING:
    from rover_core.plugins import PluginManager

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Result:
    """What a task saw. exited: it ended because its processes had. failure: what cut it short."""

    profile: Profile
    exited: bool = False
    failure: RoverError | None = None


async def profile_once(plugins: "PluginManager", settings: Settings, task: Task) -> Result:
    """Run a task to its end (its duration, its processes' exit, Ctrl-C) and return all that it saw.

    Raises RoverError if that is nothing because it could not start.
    """
    collector = Collector()
    profilers = [item for item in plugins.profilers(settings) if item.name == task.profiler]
    timing = Timing(settings.section(ProfilingSettings).flush_interval)
    agent = Agent(Parts(profilers=profilers, exporters=[collector]), timing)
    agent.submit(task)
    async with progress(_describe(task), task.duration_ns, lambda: count_samples(agent)):
        outcome = await agent.run(until_idle=True)
    failure = outcome.failures.get(task.id)
    if collector.profiles:
        return Result(collector.profiles[0], task.id in outcome.exited, failure)
    raise failure or RoverError("nothing was collected", why="the profiler did not answer in time")


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


def _describe(task: Task) -> str:
    if task.processes is None:
        return f"{task.profiler} of all processes"
    pids = [str(key.pid) for key in task.processes]
    return f"{task.profiler} of {', '.join(pids[:4])}{f' and {len(pids) - 4} more' if len(pids) > 4 else ''}"


def count_samples(agent: Agent) -> str:
    """For a progress bar."""
    seen = sum(entry.kept for entry in agent.ledger.profilers.values())
    return f"{seen} samples" if seen else ""


def say(text: str, *, nl: bool = True) -> None:
    """A sentence for the person at the terminal, on stderr: standard output is for results."""
    with suppress(OSError):  # full or closed: not worth more than the results
        print(text, file=sys.stderr, end="\n" if nl else "", flush=True)
