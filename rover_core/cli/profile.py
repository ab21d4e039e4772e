"""`rover profile`: profile now, without any configuration, and write the result."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from rover_core.api import ProfileCommand, ProfileFormat, ProfileOption
from rover_core.cli.parameters import DURATION
from rover_core.commands import Invocation, config_options
from rover_core.errors import UsageError
from rover_core.model import Task
from rover_core.tasks import COMMAND_LINE


class _ProfilerGroup(click.Group):
    """One sub-command for each profiler that is installed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._asked = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._ask_plugins()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        self._ask_plugins()
        return super().get_command(ctx, cmd_name)

    def _ask_plugins(self) -> None:
        if self._asked:
            return
        from rover_core.plugins import PluginManager

        self._asked = True
        for command in PluginManager.discover().profile_commands():
            self.add_command(_make_command(command))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        names = self.list_commands(ctx)
        if args and args[0] not in names:
            installed = f"installed are: {', '.join(names)}" if names else "none is installed"
            remedy = (
                "`rover plugins` shows why one is missing; profilers come as extras: pip install 'rover-agent[oncpu]'"
            )
            raise UsageError(f"there is no profiler {args[0]!r}", why=installed, remedy=remedy)
        return super().resolve_command(ctx, args)


@click.group(cls=_ProfilerGroup)
@config_options
def profile() -> None:
    """Profile processes now and write the result. Needs no configuration.

    \b
    Examples:
      rover profile oncpu                                  the whole host for 10 seconds
      rover profile oncpu --comm nginx --duration 30
      rover profile oncpu --pid 4711 --format pprof --output cpu.pb.gz
    """


@dataclass(frozen=True, slots=True)
class _Request:
    """What the options of one `rover profile` came to."""

    command: ProfileCommand
    task: Task
    formats: Sequence[ProfileFormat]
    format: str | None
    output: str | None


def _make_command(command: ProfileCommand) -> click.Command:
    name = command.command

    def callback(**options: Any) -> None:
        _run(command, click.get_current_context().ensure_object(Invocation), options)

    made: click.Command = click.command(name, help=_help(command))(callback)
    for option in _options(command):
        made = option(made)
    return config_options(made)


def _help(command: ProfileCommand) -> str:
    name = command.command
    return f"""{command.help}

    Prints a table and writes a flame graph beside it; --format chooses one thing to write instead.

    \b
    Examples:
      rover profile {name}                                 the whole host for 10 seconds
      rover profile {name} --pid 4711 --duration 1m
      rover profile {name} --comm nginx --format folded --output - | sort -nrk2
    """


def _options(command: ProfileCommand) -> list[Any]:
    options = [
        click.option("--pid", "pids", type=int, multiple=True, metavar="PID", help="This process. Repeatable."),
        click.option(
            "--comm", "comms", multiple=True, metavar="NAME", help="Every process of this name. Repeatable."
        ),
        click.option("--all", "everything", is_flag=True, help="Every process of the host (the default)."),
        click.option("--duration", type=DURATION, default="10s", show_default=True, help="How long; 0 until Ctrl-C."),
        click.option("--format", "format_name", metavar="NAME", help="html, folded, pprof, speedscope, table, ..."),
        click.option("--output", metavar="FILE", help="Where to write; - is standard output."),
    ]
    return options + [
        click.option(f"--{own.name.replace('_', '-')}", own.name, metavar=own.metavar, help=own.help)
        for own in command.options
    ]


def _task_settings(command: ProfileCommand, options: Mapping[str, Any]) -> dict[str, Any]:
    """The command's own options that were given, parsed."""
    given = [own for own in command.options if options[own.name] is not None]
    return {own.name: _parse(own, options[own.name]) for own in given}


def _parse(option: ProfileOption, text: str) -> Any:
    flag = f"--{option.name.replace('_', '-')}"
    try:
        return option.parse(text)
    except UsageError as error:
        raise UsageError(f"{flag}: {error.what}", why=error.why, remedy=error.remedy) from error
    except ValueError as error:
        raise UsageError(f"{flag} is not usable", why=str(error)) from error


def _run(command: ProfileCommand, invocation: Invocation, options: Mapping[str, Any]) -> None:
    from rover_core.cli.output_file import check_output, write_output
    from rover_core.cli.session import profile_once, run_to_end
    from rover_core.cli.targets import find_targets

    if invocation.overrides.get("logger.level") is None:
        invocation.overrides["logger.level"] = "WARNING"  # people look at the result, not at the agent at work
    plugins, settings = invocation.load()
    formats = {item.name: item for item in plugins.formats()}
    chosen = check_output(options["format_name"], options["output"], formats, command.command)
    task = Task(
        f"{time.strftime('%Y%m%d-%H%M%S')}-{command.command}",
        command.profiler,
        find_targets(options["pids"], options["comms"], options["everything"]),
        duration_ns=options["duration"] or None,
        settings=_task_settings(command, options),
        trigger=COMMAND_LINE,
    )
    result = run_to_end(profile_once(plugins, settings, task))
    write_output(result, chosen)
    if result.failure:
        raise result.failure
