"""The command `rover`.

Commands are imported when they are called: `rover --help` reads their one-line helps from the table below.
"""

import importlib
import os
import sys
from collections.abc import Sequence

import click

from rover_core.cli.ending import complain, guarded, leave, open_standard_streams
from rover_core.commands import config_options

COMMANDS = {
    "run": ("rover_core.cli.run:run", "Run the agent until it is told to stop."),
    "profile": ("rover_core.cli.profile:profile", "Profile processes now and write the result."),
    "record": ("rover_core.cli.record:record", "Write down what a profiler sees, to be replayed."),
    "replay": ("rover_core.cli.replay:replay", "Profile what was recorded, without root."),
    "processes": ("rover_core.cli.processes:processes", "List the processes that can be profiled."),
    "plugins": ("rover_core.cli.plugins:plugins", "List the installed plugins and what became of them."),
    "config": ("rover_core.cli.config:config", "Check a configuration; show the effective settings."),
    "doctor": ("rover_core.cli.doctor:doctor", "Say what this host lacks for profiling, if anything."),
}
"""Name to (module:attribute, one line of help)."""


class LazyGroup(click.Group):
    """Core commands from the table; plugins are only asked for theirs when help or another name wants them."""

    _asked = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._ask_plugins()
        return [*COMMANDS, *(name for name in super().list_commands(ctx) if name not in COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            module, _, attribute = COMMANDS[cmd_name][0].partition(":")
            command: click.Command = getattr(importlib.import_module(module), attribute)
            return command
        self._ask_plugins()
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        names = self.list_commands(ctx)
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._short_help(ctx, name)) for name in names])

    def _short_help(self, ctx: click.Context, name: str) -> str:
        if name in COMMANDS:
            return COMMANDS[name][1]
        command = self.get_command(ctx, name)
        return command.get_short_help_str(100) if command else ""

    def _ask_plugins(self) -> None:
        if not self._asked:
            from rover_core.plugins import PluginManager

            self._asked = True
            PluginManager.discover().add_commands(self)


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"rover {version('rover-agent')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
@config_options
def cli() -> None:
    """Rover profiles the processes of this host with eBPF.

    \b
    Examples:
      rover doctor                          is this host fit for it?
      rover profile oncpu --duration 10     where does the CPU time go?
      rover run -c rover.yaml               the agent, as a service
    """


def run_cli(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit status. What people can cause is printed without a traceback."""

    def parse_and_run() -> object:
        try:
            return cli.main(list(arguments), prog_name="rover", standalone_mode=False)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            return error.exit_code
        except click.ClickException as error:
            complain(_sentence(error))
            return error.exit_code
        except click.Abort:
            raise KeyboardInterrupt from None

    return guarded(parse_and_run)


def _sentence(error: click.ClickException) -> str:
    text = error.format_message().rstrip(".").replace("\n", " ")
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"{text}; see '{context.command_path} --help'" if context else text


def run_and_leave() -> None:
    """The whole of the process `rover`."""
    # numpy multiplies no matrices here, but its OpenBLAS would start threads for that, which spin for 0.1 s at first.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    open_standard_streams()
    leave(run_cli(sys.argv[1:]))
