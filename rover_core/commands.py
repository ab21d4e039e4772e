"""Options that every command shares, and what they add up to: plugins and settings. For plugins' commands too."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from rover_core.invocation import Invocation

__all__ = ["Invocation", "config_options", "pass_invocation"]

_Function = TypeVar("_Function", bound=Callable[..., Any])
_LEVELS = click.Choice(["debug", "info", "warning", "error"], case_sensitive=False)


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
