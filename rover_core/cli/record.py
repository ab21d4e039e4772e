"""`rover record`: write down what a profiler sees, so that it can be profiled again elsewhere."""

import asyncio
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from rover_core.api import AgentContext, RecordCommand, RecordingProfiler, Settings
from rover_core.cli.profile import make_tasks, own_options, own_settings, target_options
from rover_core.cli.recording import SizeParameter, recorders
from rover_core.commands import Invocation, config_options
from rover_core.errors import RoverError, UsageError
from rover_core.model import Task

if TYPE_CHECKING:
    from rover_core.agent import Outcome
    from rover_core.plugins import PluginManager

_LOOKS_EVERY_S = 0.2


class _Group(click.Group):
    """One sub-command for each profiler that can be recorded."""

    _asked = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        if not self._asked:
            self._asked = True
            for command in recorders()[1]:
                self.add_command(_make_command(command))
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        self.list_commands(ctx)
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Group)
@config_options
def record() -> None:
    """Write down what a profiler sees. `rover replay` profiles it again, anywhere, without root.

    \b
    Examples:
      rover record network -o traffic.rover
      rover record network -o traffic.rover --comm nginx --duration 1m --max-size 1GB
    """


def _make_command(command: RecordCommand) -> click.Command:
    def callback(**options: Any) -> None:
        _record(command, click.get_current_context().ensure_object(Invocation), options)

    made: click.Command = click.command(command.command, help=_help(command))(callback)
    for option in [*target_options(), *_file_options(), *own_options([command])]:
        made = option(made)
    return config_options(made)


def _help(command: RecordCommand) -> str:
    return f"""{command.help}

    The file can be used whatever ends this command. It holds what was said as it was said, secrets included, so only
    its owner may read it (mode 0600).

    \b
    Examples:
      rover record {command.command} -o traffic.rover
      rover record {command.command} -o traffic.rover --pid 4711 --duration 0
      rover replay traffic.rover
    """


def _file_options() -> list[Any]:
    size = SizeParameter()
    return [
        click.option("-o", "--output", metavar="FILE", required=True, help="The file to write."),
        click.option("--max-size", type=size, default="256MB", show_default=True, help="How large it may become."),
    ]


def _record(command: RecordCommand, invocation: Invocation, options: Mapping[str, Any]) -> None:
    from rover_core.agent import run_to_end
    from rover_core.cli.session import say

    if invocation.overrides.get("logger.level") is None:
        invocation.overrides["logger.level"] = "WARNING"
    plugins, settings = invocation.load()
    (task,) = make_tasks([command], options)
    path = options["output"]
    with _private(path) as (out, keep):
        own = own_settings(command, options)
        bring = partial(plugins.protocols, settings), partial(plugins.tls_libraries, settings)
        profiler = command.record(settings, *bring, out, options["max_size"], own)
        try:
            outcome = run_to_end(_run(plugins, settings, task, profiler, keep))
        finally:
            profiler.close()
            if profiler.written:
                keep()
        if not profiler.written:
            why = profiler.stopped or "it ended before the profiler had begun"
            raise next(iter(outcome.failures.values()), RoverError(f"nothing was recorded to {path}", why=why))
        if profiler.stopped:
            say(f"Recording stopped before its end: {profiler.stopped}.")
        secrets = "It holds what was said, secrets included: only you may read it"
        say(f"Wrote {path}: {profiler.written:,} bytes. {secrets}.")
    _say_how_it_went(outcome)
    for failure in outcome.failures.values():
        raise failure


@contextmanager
def _private(path: str) -> Iterator[tuple[BinaryIO, Callable[[], None]]]:
    """A file that only its owner may read, and what gives it its name: one that was there is kept until then.

    What is no file is refused.
    """
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise UsageError(f"cannot record to {path}", why="it is no regular file")
    whole = Path(path).absolute()
    beside = whole.with_name(f".{whole.name}.{os.getpid()}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise RoverError(f"cannot write {path}", why=error.strerror or str(error)) from error

    def keep() -> None:
        with suppress(FileNotFoundError):  # it has its name
            beside.replace(whole)

    try:
        with open(descriptor, "wb", buffering=0) as out:
            yield out, keep
    finally:
        beside.unlink(missing_ok=True)


class _Watcher:
    """Names the file when there is something in it, and ends the task when it takes nothing more."""

    name = "recording"

    def __init__(self, task: Task, profiler: RecordingProfiler, keep: Callable[[], None]) -> None:
        self._task, self._profiler, self._keep = task, profiler, keep

    async def run(self, context: AgentContext) -> None:
        while not self._profiler.stopped:
            if self._profiler.written:
                self._keep()
            await asyncio.sleep(_LOOKS_EVERY_S)
        context.cancel(self._task.id)


async def _run(
    plugins: "PluginManager", settings: Settings, task: Task, profiler: RecordingProfiler, keep: Callable[[], None]
) -> "Outcome":
    from rover_core.agent import Agent, Parts, Timing
    from rover_core.cli.progress import progress
    from rover_core.cli.session import describe
    from rover_core.config.sections import ProfilingSettings

    timing = Timing(settings.section(ProfilingSettings).flush_interval)
    parts = Parts(plugins.discoverers(settings), [profiler], (), [_Watcher(task, profiler, keep)])
    agent = Agent(parts, timing)
    agent.submit(task)
    async with progress(f"recording {describe([task])}", task.duration_ns, lambda: f"{profiler.written:,} bytes"):
        return await agent.run(until_idle=True)


def _say_how_it_went(outcome: "Outcome") -> None:
    from rich.console import Console

    from rover_core.model import Completeness
    from rover_core.tables import print_completeness

    whole = sum(outcome.ledger.profilers.values(), Completeness())
    with suppress(OSError):
        print_completeness(whole, Console(stderr=True), unit="events")
