"""What `rover record` and `rover replay` have in common."""

from typing import TYPE_CHECKING, Any

import click

from rover_core.api import RecordCommand
from rover_core.config import parse_size

if TYPE_CHECKING:
    from rover_core.plugins import PluginManager


class SizeParameter(click.ParamType[int]):
    """`64MB` -> bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return value if isinstance(value, int) else parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def recorders() -> tuple["PluginManager", list[RecordCommand]]:
    from rover_core.plugins import PluginManager

    plugins = PluginManager.discover()
    return plugins, plugins.record_commands()
