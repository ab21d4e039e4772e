"""One profile from the command line: an agent with a single task and no exporter but memory."""

from typing import TYPE_CHECKING

import click

from rover_core.agent import Agent, Parts, Timing
from rover_core.api import Settings
from rover_core.cli.progress import progress
from rover_core.collector import Collector
from rover_core.config.sections import ProfilingSettings
from rover_core.errors import RoverError
from rover_core.model import Profile, Task

if TYPE_CHECKING:
    from rover_core.plugins import PluginManager


async def profile_once(plugins: "PluginManager", settings: Settings, task: Task) -> Profile:
    """Run a task to its end (its duration, its processes' exit, Ctrl-C) and return all that it saw.

    Raises RoverError if it could not start.
    """
    collector = Collector()
    profilers = [item for item in plugins.profilers(settings) if item.name == task.profiler]
    timing = Timing(settings.section(ProfilingSettings).flush_interval)
    agent = Agent(Parts(profilers=profilers, exporters=[collector]), timing)
    agent.submit(task)
    async with progress(_describe(task), task.duration_ns, lambda: count_samples(agent)):
        outcome = await agent.run(until_idle=True)
    for error in outcome.failures.values():
        raise error
    if not collector.profiles:
        raise RoverError("nothing was collected", why="it was stopped before profiling began")
    return collector.profiles[0]


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
    click.echo(text, err=True, nl=nl)
