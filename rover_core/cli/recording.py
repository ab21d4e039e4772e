"""What `rover record` and `rover replay` have in common."""

from typing import TYPE_CHECKING, Any

import click

from rover_core.api import RecordCommand
from rover_core.config import parse_size

if TYPE_CHECKING:
    from rover_core.plugins import PluginManager


_LEAST = 1 << 20


class SizeParameter(click.ParamType[int]):
    """`64MB` -> bytes, enough of them for a file that is of use."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            size = value if isinstance(value, int) else parse_size(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if size < _LEAST:
            self.fail(f"{value} is too little: at least 1MB", param, ctx)
        return size


def recorders() -> tuple["PluginManager", list[RecordCommand]]:
    from rover_core.plugins import PluginManager

    plugins = PluginManager.discover()
    return plugins, plugins.record_commands()
