"""Kinds of values on the command line."""

from typing import Any

import click

from rover_core.config.types import parse_cli_duration


class DurationParameter(click.ParamType[int]):
    """`15`, `15s`, `1m30s` -> nanoseconds. A plain number is seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_cli_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION = DurationParameter()
