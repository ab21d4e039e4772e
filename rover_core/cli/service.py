"""The agent's own process: what `rover run` becomes. Runs as `python -m rover_core.cli.service ORDER` (JSON)."""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from rover_core.cli.ending import guarded, leave, open_standard_streams
from rover_core.errors import RoverError
from rover_core.invocation import Invocation
from rover_core.model import Task

if TYPE_CHECKING:
    from rover_core.agent import Agent, Outcome, Parts
    from rover_core.api import Settings
    from rover_core.collector import Collector

_ROOM = 1024  # stacks kept in memory for the closing table; the store has them all


def serve(invocation: Invocation, duration_ns: int, demo: bool | None) -> None:
    """Run the agent until it is told to stop, or for duration_ns if that is not 0, and show what came of it."""
    from rover_core.agent import Agent, Parts, run_to_end, timing_of
    from rover_core.collector import Collector
    from rover_core.memory import settle

    plugins, settings = invocation.load()
    collector = Collector(_ROOM)
    parts = Parts(
        plugins.discoverers(settings),
        plugins.profilers(settings),
        [collector, *plugins.exporters(settings)],
        plugins.task_sources(settings),
    )
    tasks = _standalone_tasks(settings, parts, duration_ns)
    settle()
    with ExitStack() as stack:
        _start_demo(stack, demo, duration_ns)
        outcome = run_to_end(_run(Agent(parts, timing_of(settings)), tasks, duration_ns))
    _report(outcome, collector)


def _standalone_tasks(settings: "Settings", parts: "Parts", duration_ns: int) -> list[Task]:
    """What to profile when nobody says: the configured profilers, over every process of the host."""
    from rover_core.config.sections import ProfilingSettings

    profiling = settings.section(ProfilingSettings)
    if parts.task_sources or not profiling.active:
        return []
    installed = {profiler.name for profiler in parts.profilers}
    wanted = [name for name in profiling.standalone if name in installed]
    if not wanted:
        raise RoverError(
            "there is nothing to run",
            why=f"of the profilers {', '.join(profiling.standalone)} none is installed or working",
            remedy="pip install 'rover-agent[oncpu]', or see `rover plugins`",
        )
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return [
        Task(f"{stamp}-{name.lower().replace('_', '')}", name, duration_ns=duration_ns or None, trigger="standalone")
        for name in wanted
    ]


def _start_demo(stack: ExitStack, demo: bool | None, duration_ns: int) -> None:
    from rover_core.cli.demo import Demo, host_is_idle
    from rover_core.cli.session import say

    if demo is None:
        # A service must never start work of its own: only a look around that ends by itself does.
        demo = bool(duration_ns) and host_is_idle()
        if demo:
            say("This host is idle. So that there is something to see, ", nl=False)
    if demo:
        workload = stack.enter_context(Demo())
        say(f"Rover starts {workload.description}.")


async def _run(agent: "Agent", tasks: Sequence[Task], duration_ns: int) -> "Outcome":
    from rover_core.cli.progress import progress
    from rover_core.cli.session import count_samples

    for task in tasks:
        agent.submit(task)
    if duration_ns and not tasks:
        asyncio.get_running_loop().call_later(duration_ns / 1e9, agent.request_stop)
    what = f"Profiling {' and '.join(task.profiler for task in tasks)} of all processes" if tasks else "Running"
    async with progress(what, duration_ns or None, lambda: count_samples(agent)):
        return await agent.run(until_idle=bool(tasks))


def _report(outcome: "Outcome", collector: "Collector") -> None:
    from rover_core.cli.output_file import writing_stdout
    from rover_core.cli.session import say

    try:
        with writing_stdout("The results are where the exporters keep them"):
            _print(outcome, collector)
    finally:
        for name, completeness in outcome.ledger.exporters.items():
            if completeness.lost:
                causes = ", ".join(f"{count} {cause}" for cause, count in completeness.lost.items())
                say(f"The exporter {name} lost {completeness.expected - completeness.kept} samples: {causes}.")
        for line in outcome.results:
            say(line)
    for error in outcome.failures.values():
        raise error


def _print(outcome: "Outcome", collector: "Collector") -> None:
    from rover_core.flowtable import print_flows
    from rover_core.tables import print_completeness, print_profiles

    print_profiles(collector.profiles)
    for telemetry in collector.telemetry:
        print_flows(telemetry)
    several = len(outcome.ledger.profilers) > 1
    for name, completeness in outcome.ledger.profilers.items():
        print_completeness(completeness, of=name if several else "")
    sys.stdout.flush()


def main() -> None:
    """Carry out the order."""
    from rover_core.memory import use_one_arena

    use_one_arena()
    open_standard_streams()
    order = json.loads(sys.argv[1])
    invocation = Invocation(Path(order["config"]) if order["config"] else None, order["overrides"])
    leave(guarded(lambda: serve(invocation, order["duration_ns"], order["demo"])))


if __name__ == "__main__":
    main()
