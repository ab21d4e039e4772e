"""Profiles from the command line: an agent with their tasks and no exporter but memory."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rover_core.agent import Agent, Parts, Timing
from rover_core.api import Settings
from rover_core.cli.progress import progress
from rover_core.cli.together import begin, is_among, profile_of
from rover_core.collector import Collector
from rover_core.config.sections import ProfilingSettings
from rover_core.errors import RoverError
from rover_core.model import Profile, Task

if TYPE_CHECKING:
    from rover_core.plugins import PluginManager


@dataclass(frozen=True, slots=True)
class Result:
    """What tasks saw: a profile of each that saw anything, in the tasks' order.

    exited: they ended because their processes had. failures: what cut tasks short.
    """

    profiles: Sequence[Profile]
    exited: bool = False
    failures: Sequence[RoverError] = ()


async def profile_once(plugins: "PluginManager", settings: Settings, tasks: Sequence[Task]) -> Result:
    """Run tasks to their end (their duration, their processes' exit, Ctrl-C) and return all that they saw.

    tasks: over the same processes and as long as each other. Raises RoverError if all of it is nothing because none
    could start.
    """
    collector = Collector()
    wanted = [task.profiler for task in tasks]
    profilers = [item for item in plugins.profilers(settings) if item.name in wanted]
    timing = Timing(settings.section(ProfilingSettings).flush_interval)
    agent = Agent(Parts(profilers=profilers, exporters=[collector]), timing)
    starter = begin(agent, tasks)
    try:
        async with progress(describe(tasks), tasks[0].duration_ns, lambda: count_samples(agent)):
            outcome = await agent.run(until_idle=True)
    finally:
        if starter:
            starter.cancel()
    found = {profile.task_id: profile for profile in collector.profiles}
    if not found:
        nothing = RoverError("nothing was collected", why="the profiler did not answer in time")
        raise next(iter(outcome.failures.values()), nothing)
    profiles = [profile for task in tasks if (profile := profile_of(task, found))]
    failures = [outcome.failures[task.id] for task in tasks if task.id in outcome.failures]
    return Result(profiles, any(is_among(task, outcome.exited) for task in tasks), failures)


def describe(tasks: Sequence[Task]) -> str:
    """`ON_CPU of 4711, 4712`, for a title."""
    profilers = " and ".join(task.profiler for task in tasks)
    if tasks[0].processes is None:
        return f"{profilers} of all processes"
    pids = [str(key.pid) for key in tasks[0].processes]
    return f"{profilers} of {', '.join(pids[:4])}{f' and {len(pids) - 4} more' if len(pids) > 4 else ''}"


def count_samples(agent: Agent) -> str:
    """For a progress bar."""
    seen = sum(entry.kept for entry in agent.ledger.profilers.values())
    return f"{seen} samples" if seen else ""


def say(text: str, *, nl: bool = True) -> None:
    """A sentence for the person at the terminal, on stderr: standard output is for results."""
    with suppress(OSError):  # full or closed: not worth more than the results
        print(text, file=sys.stderr, end="\n" if nl else "", flush=True)
