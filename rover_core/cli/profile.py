"""`rover profile`: profile now, without any configuration, and write the result."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from rover_core.api import Batch, ProfileCommand, ProfileFormat, ProfileOption, RecordCommand
from rover_core.commands import DURATION, Invocation, config_options
from rover_core.errors import UsageError
from rover_core.model import Profile, Task, Telemetry
from rover_core.tasks import COMMAND_LINE

_HALVES = ("ON_CPU", "OFF_CPU")
"""Together they account for all of a thread's time, so where both are there, so is `rover profile both`."""
_FORMATS = {Profile: "html, folded, pprof, speedscope, table, ...", Telemetry: "table, json, html, ..."}
_BOTH = "Where threads compute and where they wait, side by side. Together that is all of their time."


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
        commands = PluginManager.discover().profile_commands()
        for command in commands:
            self.add_command(_make_command(command.command, command.help, [command]))
        halves = [command for name in _HALVES for command in commands if command.profiler == name]
        if len(halves) == len(_HALVES):
            self.add_command(_make_command("both", _BOTH, halves))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        names = self.list_commands(ctx)
        if args and args[0] not in names:
            installed = f"installed are: {', '.join(names)}" if names else "none is installed"
            extra = args[0] if args[0] in _extras() else "oncpu"
            remedy = f"`rover plugins` shows why one is missing; as extras: pip install 'rover-agent[{extra}]'"
            raise UsageError(f"there is no profiler {args[0]!r}", why=installed, remedy=remedy)
        return super().resolve_command(ctx, args)


def _extras() -> Sequence[str]:
    from importlib.metadata import metadata

    return metadata("rover-agent").get_all("Provides-Extra", [])


@click.group(cls=_ProfilerGroup)
@config_options
def profile() -> None:
    """Profile processes now and write the result. Needs no configuration.

    \b
    Examples:
      rover profile oncpu                                  the whole host for 10 seconds
      rover profile oncpu --comm nginx --duration 30
      rover profile oncpu --pid 4711 --format pprof --output cpu.pb.gz
      rover profile both --pid 4711                        what it computes, and what it waits for
    """


def _make_command(name: str, summary: str, commands: Sequence[ProfileCommand]) -> click.Command:
    """A sub-command that runs what these commands of plugins run, all at once."""

    def callback(**options: Any) -> None:
        _run(name, commands, click.get_current_context().ensure_object(Invocation), options)

    delivers = commands[0].delivers
    help_text = _telemetry_help(name, summary) if delivers is Telemetry else _help(name, summary, len(commands) > 1)
    made: click.Command = click.command(name, help=help_text)(callback)
    for option in [*target_options(), *output_options(commands[0].delivers), *own_options(commands)]:
        made = option(made)
    return config_options(made)


def _help(name: str, summary: str, several: bool) -> str:
    last = "speedscope" if several else "folded --output - | sort -nrk2"
    return f"""{summary}

    Prints a table and writes a flame graph beside it; --format chooses one thing to write instead.

    \b
    Examples:
      rover profile {name}                                 the whole host for 10 seconds
      rover profile {name} --pid 4711 --duration 1m
      rover profile {name} --comm nginx --format {last}
    """


def _telemetry_help(name: str, summary: str) -> str:
    return f"""{summary}

    On a terminal a table, kept up to date and added up at the end; in a pipe lines of JSON, some for each interval.

    \b
    Examples:
      rover profile {name}                               the whole host for 10 seconds
      rover profile {name} --pid 4711 --duration 0       until Ctrl-C
      rover profile {name} --comm nginx --output traffic.jsonl
      rover profile {name} --format json | jq 'select(.type == "flow")'
    """


def target_options() -> list[Any]:
    """Which processes, and how long."""
    return [
        click.option("--pid", "pids", type=int, multiple=True, metavar="PID", help="This process. Repeatable."),
        click.option(
            "--comm", "comms", multiple=True, metavar="NAME", help="Every process of this name. Repeatable."
        ),
        click.option("--all", "everything", is_flag=True, help="Every process of the host (the default)."),
        click.option("--duration", type=DURATION, default="10s", show_default=True, help="How long; 0 until Ctrl-C."),
    ]


def output_options(delivers: type[Batch]) -> list[Any]:
    return [
        click.option("--format", "format_name", metavar="NAME", help=_FORMATS[delivers]),
        click.option("--output", metavar="FILE", help="Where to write; - is standard output."),
    ]


def own_options(commands: Sequence[ProfileCommand | RecordCommand]) -> list[Any]:
    """Of plugins."""
    own = {option.name: option for command in commands for option in command.options}
    return [
        click.option(f"--{each.name.replace('_', '-')}", each.name, metavar=each.metavar, help=each.help)
        for each in own.values()
    ]


def own_settings(command: ProfileCommand | RecordCommand, options: Mapping[str, Any]) -> dict[str, Any]:
    """The command's own options that were given, parsed."""
    given = [own for own in command.options if options[own.name] is not None]
    return {own.name: _parsed(own, options[own.name]) for own in given}


def _parsed(own: ProfileOption, text: str) -> Any:
    option = f"--{own.name.replace('_', '-')}"
    try:
        return own.parse(text)
    except UsageError as error:
        raise UsageError(f"{option}: {error.what}", why=error.why, remedy=error.remedy) from error
    except ValueError as error:
        raise UsageError(f"{option} is not usable", why=str(error)) from error


def _run(name: str, commands: Sequence[ProfileCommand], invocation: Invocation, options: Mapping[str, Any]) -> None:
    from rover_core.agent import run_to_end
    from rover_core.cli.output_choice import check_output
    from rover_core.cli.output_file import write_output
    from rover_core.cli.session import profile_once

    if invocation.overrides.get("logger.level") is None:
        invocation.overrides["logger.level"] = "WARNING"  # people look at the result, not at the agent at work
    plugins, settings = invocation.load()
    if commands[0].delivers is Telemetry:
        from rover_core.cli.watching import watch

        (task,) = make_tasks(commands, options)
        return watch(plugins, settings, task, name, options)
    formats = {item.name: item for item in plugins.formats() if isinstance(item, ProfileFormat)}
    parts = {command.profiler: command.command for command in commands} if len(commands) > 1 else None
    chosen = check_output(options["format_name"], options["output"], formats, name, parts)
    result = run_to_end(profile_once(plugins, settings, make_tasks(commands, options)))
    write_output(result, chosen)
    for failure in result.failures:
        raise failure
    return None


def make_tasks(commands: Sequence[ProfileCommand | RecordCommand], options: Mapping[str, Any]) -> list[Task]:
    """One for each command. UsageError for processes there are not."""
    from rover_core.cli.targets import find_targets

    stamp = time.strftime("%Y%m%d-%H%M%S")
    targets = find_targets(options["pids"], options["comms"], options["everything"])
    return [
        Task(
            f"{stamp}-{command.command}",
            command.profiler,
            targets,
            duration_ns=options["duration"] or None,
            settings=own_settings(command, options),
            trigger=COMMAND_LINE,
        )
        for command in commands
    ]
