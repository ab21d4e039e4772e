"""`rover replay`: profile what was recorded."""

import asyncio
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from rover_core.api import (
    Batch,
    Exporter,
    Health,
    Observation,
    ProfileCommand,
    RecordCommand,
    Replay,
    RequestWatch,
    Settings,
    TaskState,
)
from rover_core.cli.profile import output_options, own_options, own_settings
from rover_core.cli.recording import recorders
from rover_core.commands import Invocation, config_options
from rover_core.errors import RoverError, UsageError
from rover_core.model import Loss, Process, Task, Telemetry
from rover_core.tasks import COMMAND_LINE

if TYPE_CHECKING:
    from rover_core.agent import Outcome
    from rover_core.plugins import PluginManager

_HEAD = 64  # bytes of a file that may tell what it is


class _Command(click.Command):
    """With the options of each profiler whose recordings can be read."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        known = {param.name for param in self.params}
        plugins, commands = recorders()
        for option in own_options(_profiling(plugins, commands)):
            option(made := click.Command(None))  # a decorator of commands
            self.params += [param for param in made.params if param.name not in known]
        return super().get_params(ctx)


def _profiling(plugins: "PluginManager", commands: Sequence[RecordCommand]) -> list[ProfileCommand]:
    recorded = {command.profiler for command in commands}
    return [command for command in plugins.profile_commands() if command.profiler in recorded]


@click.command(cls=_Command)
@click.argument("file", metavar="FILE")
@click.option(
    "--export", "exporters", multiple=True, metavar="NAME", help="Hand it to this exporter too. Repeatable."
)
@click.option("--check", is_flag=True, help="Only say what would be decided otherwise than when it was recorded.")
@config_options
def replay(**options: Any) -> int:
    """Profile what `rover record` has written: the same readers, figures and samples, without root or eBPF.

    What the kernel decided is taken from the recording; everything behind it is done anew, by what is installed now.

    \b
    Examples:
      rover replay traffic.rover
      rover replay traffic.rover --format html --output traffic.html
      rover replay traffic.rover --sample 'slow>200ms,5xx'
      rover replay traffic.rover --export local --set exporter.local.directory=/tmp/store
      rover replay traffic.rover --check
    """
    return _replay(click.get_current_context().ensure_object(Invocation), options)


for _option in output_options(Telemetry):
    replay = _option(replay)


def _replay(invocation: Invocation, options: Mapping[str, Any]) -> int:
    from rover_core.cli.session import say
    from rover_core.cli.watching import show

    if invocation.overrides.get("logger.level") is None:
        invocation.overrides["logger.level"] = "WARNING"
    plugins, settings = invocation.load()
    with _opened(options["file"]) as file:
        command = _reads(plugins.record_commands(), file)
        if options["check"]:
            return _check(command, plugins, settings, file)
        exporters = _chosen(plugins.exporters(settings), options["exporters"])
        task = _task(plugins, command, options)
        recorded = command.replay(settings, lambda: plugins.protocols(settings), file)
        run = partial(_run, recorded, task, exporters)
        show(plugins, "replay", f"{command.profiler} of {options['file']}", options, run)
        for note in recorded.notes:
            say(note)
    return 0


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    try:
        with open(path, "rb") as file:
            yield file
    except OSError as error:
        raise RoverError(f"cannot read {path}", why=error.strerror or str(error)) from error


def _reads(commands: Sequence[RecordCommand], file: BinaryIO) -> RecordCommand:
    head = file.read(_HEAD)
    file.seek(0)
    for command in commands:
        if head.startswith(command.magic):
            return command
    raise RoverError(f"cannot replay {file.name}", why="it is no recording that an installed plugin can read")


def _task(plugins: "PluginManager", command: RecordCommand, options: Mapping[str, Any]) -> Task:
    settings: dict[str, Any] = {}
    for each in _profiling(plugins, [command]):
        settings |= own_settings(each, options)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return Task(f"{stamp}-replay", command.profiler, settings=settings, trigger=COMMAND_LINE)


def _chosen(installed: Sequence[Exporter], names: Collection[str]) -> list[Exporter]:
    known = {exporter.name: exporter for exporter in installed}
    for name in names:
        if name not in known:
            raise UsageError(f"there is no exporter {name!r}", why=f"there are: {', '.join(known) or 'none'}")
    return [known[name] for name in dict.fromkeys(names)]


def _check(command: RecordCommand, plugins: "PluginManager", settings: Settings, file: BinaryIO) -> int:
    findings = list(command.check(settings, lambda: plugins.protocols(settings), file))
    for finding in findings:
        click.echo(f"{finding.health:7}  {finding.name}  {finding.detail}")
    return int(any(finding.health is Health.PROBLEM for finding in findings))


class _Context:
    """The agent, to exporters: there is only what was recorded."""

    def __init__(self, replay: Replay, profiler: str) -> None:
        self._replay = replay
        self.profilers: Collection[str] = [profiler]
        self.lost = 0

    @property
    def processes(self) -> Collection[Process]:
        return self._replay.processes

    def find_process(self, pid: int) -> Process | None:
        return next((process for process in self.processes if process.pid == pid), None)

    def submit(self, task: Task) -> None:
        """What is over cannot be profiled."""

    def cancel(self, task_id: str) -> None:
        """It ends with the recording."""

    def task_state(self, task_id: str) -> TaskState:
        return TaskState.OVER

    def publish(self, batch: Batch) -> None:
        """There is only what was recorded."""

    async def observe(self, watches: Sequence[RequestWatch]) -> Observation:
        return Observation()

    def count_lost(self, exporter: str, samples: int, cause: Loss) -> None:
        self.lost += samples


async def _run(replay: Replay, task: Task, exporters: Sequence[Exporter], watcher: Exporter) -> "Outcome":
    """All of it to all of them, none faster than the slowest takes it."""
    from rover_core.agent import Outcome
    from rover_core.ledger import Ledger

    context, outcome = _Context(replay, task.profiler), Outcome(Ledger())
    takers = [watcher, *exporters]
    for exporter in takers:
        await exporter.start(context)
    # One thread for all of it: what it starts may be bound to its life.
    with ThreadPoolExecutor(1) as thread:
        batches = replay.run(task)
        loop = asyncio.get_running_loop()
        while batch := await loop.run_in_executor(thread, next, batches, None):
            for exporter in takers:
                await exporter.export(batch)
    for exporter in takers:
        outcome.results += await exporter.stop()
    return outcome
