"""Options that every command shares, and what they add up to: plugins and settings. For plugins' commands too."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rover_core.config.types import parse_cli_duration
from rover_core.invocation import Invocation

if TYPE_CHECKING:  # they cost 0.2 s to import, and `rover --help` needs none of them
    from rover_core.agent import Outcome
    from rover_core.api import Settings, TaskSource
    from rover_core.plugins import PluginManager

__all__ = ["DURATION", "Invocation", "config_options", "pass_invocation", "run_agent"]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_LEVELS = click.Choice(["debug", "info", "warning", "error"], case_sensitive=False)


class _DurationParameter(click.ParamType[int]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_cli_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION = _DurationParameter()
"""An option's type: `15`, `15s`, `1m30s` -> nanoseconds. A plain number is seconds."""

pass_invocation = click.make_pass_decorator(Invocation, ensure=True)
"""Hands the `Invocation` to a command as its first argument."""


def config_options(command: _Function) -> _Function:
    """Add `--config`, `--set` and `--log-level`. Their values go to the `Invocation`, not to the function."""
    options = [
        click.option("-c", "--config", metavar="FILE", type=click.Path(path_type=Path), expose_value=False,
                     callback=_config, help="Configuration file (YAML)."),
        click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, expose_value=False,
                     callback=_set, help="Override one setting, e.g. profiling.flush_interval=2s. Repeatable."),
        click.option("--log-level", type=_LEVELS, expose_value=False, callback=_log_level,
                     help="How much to log; the same as --set logger.level=..."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def run_agent(
    plugins: "PluginManager", settings: "Settings", sources: "Sequence[TaskSource]", duration_ns: int = 0
) -> "Outcome":
    """Run an agent of all plugins with these task sources in place of theirs, until Ctrl-C or for duration_ns."""
    import asyncio

    from rover_core.agent import Agent, Parts, run_to_end, timing_of

    parts = Parts(plugins.discoverers(settings), plugins.profilers(settings), plugins.exporters(settings), sources)
    agent = Agent(parts, timing_of(settings))

    async def run() -> "Outcome":
        if duration_ns:
            asyncio.get_running_loop().call_later(duration_ns / 1e9, agent.request_stop)
        return await agent.run()

    return run_to_end(run())


def _config(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.ensure_object(Invocation).config = value


def _set(ctx: click.Context, _: click.Parameter, values: tuple[str, ...]) -> None:
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key.strip():
            raise click.BadParameter(f"{value!r} is not KEY=VALUE, for example profiling.flush_interval=2s")
        ctx.ensure_object(Invocation).overrides[key.strip()] = text.strip()


def _log_level(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Invocation).overrides["logger.level"] = value
