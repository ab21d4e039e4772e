"""Starts tasks of several profilers at one moment, though each takes its own time to compile a program.

Every task is first started as a trial. When all trials run, the tasks are started beside them, which is a matter of
milliseconds, because a profiler shares what it has loaded among tasks of equal settings. Then the trials end. What
they saw only counts where nothing else is there: where Ctrl-C or the processes' exit came first.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from rover_core.agent import Agent
from rover_core.model import Profile, Task

_LOOK_S = 0.02


def begin(agent: Agent, tasks: Sequence[Task]) -> asyncio.Task[None] | None:
    """Submit tasks, several of them together. What it returns is to be cancelled when the agent has ended."""
    if len(tasks) == 1:
        agent.submit(tasks[0])
        return None
    for task in tasks:
        agent.submit(replace(task, id=_trial(task), duration_ns=None))
    return asyncio.create_task(_go_on(agent, tasks), name="starting together")


async def _go_on(agent: Agent, tasks: Sequence[Task]) -> None:
    await _started(agent, {_trial(task) for task in tasks})
    for task in tasks:
        agent.submit(task)
    await _started(agent, {task.id for task in tasks})
    for task in tasks:
        agent.cancel(_trial(task))


async def _started(agent: Agent, ids: Collection[str]) -> None:
    """Wait until every task runs, or is over already."""
    manager, missing = agent.tasks, set(ids)
    while missing := missing - {*(task.id for task in manager.running), *manager.failures, *manager.exited}:
        await asyncio.sleep(_LOOK_S)


def _trial(task: Task) -> str:
    return f"{task.id}-trial"


def profile_of(task: Task, profiles: Mapping[str, Profile]) -> Profile | None:
    """What there is of a task, by ids of tasks."""
    trial = profiles.get(_trial(task))
    return profiles.get(task.id) or (replace(trial, task_id=task.id) if trial else None)


def is_among(task: Task, ids: Collection[str]) -> bool:
    """Whether the task, or in its stead the trial, is one of these."""
    return task.id in ids or _trial(task) in ids
