"""The command `rover`.

Commands are imported when they are called: `rover --help` reads their one-line helps from the table below.
"""

import importlib
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

import click

from rover_core.commands import config_options
from rover_core.errors import RoverError

COMMANDS = {
    "run": ("rover_core.cli.run:run", "Run the agent until it is told to stop."),
    "profile": ("rover_core.cli.profile:profile", "Profile processes now and write the result."),
    "processes": ("rover_core.cli.processes:processes", "List the processes that can be profiled."),
    "plugins": ("rover_core.cli.plugins:plugins", "List the installed plugins and what became of them."),
    "config": ("rover_core.cli.config:config", "Check a configuration; show the effective settings."),
    "doctor": ("rover_core.cli.doctor:doctor", "Say what this host lacks for profiling, if anything."),
}
"""Name to (module:attribute, one line of help)."""

_ABORTED = 130  # 128 + SIGINT, as shells have it
_THREADS_END_WITHIN_S = 0.3
_BROKEN_PIPE = 141  # 128 + SIGPIPE


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
    try:
        status = cli.main(list(arguments), prog_name="rover", standalone_mode=False)
        sys.stdout.flush()
    except RoverError as error:
        _complain(str(error))
        return error.exit_status
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        _complain(_sentence(error))
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _ABORTED
    except BrokenPipeError:
        # The interpreter flushes stdout once more at exit; let it find an open door.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except (
        OSError
    ) as error:  # of a host, not of a programmer; what can be said more precisely was said where it arose
        _complain(f"{error.filename or 'cannot write the output'}: {error.strerror or error}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status if isinstance(status, int) else 0


def _complain(text: str) -> None:
    with suppress(OSError):  # standard error is full or closed: the exit status still tells
        click.echo(f"rover: {text}", err=True)


def _sentence(error: click.ClickException) -> str:
    text = error.format_message().rstrip(".").replace("\n", " ")
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"{text}; see '{context.command_path} --help'" if context else text


def main() -> None:
    """The console script."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed before the start: `2>&-`
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # for as long as the process lives
    _leave(run_cli(sys.argv[1:]))


def _leave(status: int) -> None:
    """End the process. The interpreter would wait for threads; one that hangs in a plugin is not waited for."""
    deadline = time.monotonic() + _THREADS_END_WITHIN_S
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                sys.stdout.flush()
                os._exit(status)
    sys.exit(status)
