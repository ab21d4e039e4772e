"""The hooks: what Rover finds when it loads this plugin."""

from collections.abc import Sequence

from rover_core.api import ProfileFormat, hookimpl
from rover_hello.csv_format import CsvFormat


@hookimpl
def rover_formats() -> Sequence[ProfileFormat]:
    return [CsvFormat()]
