"""Settings: their types, for plugins. Reading them (`load_settings`) is in `rover_core.config.loading`.

The split keeps `rover --help` fast: only reading needs pydantic-settings, which costs 0.2 s and 15 MB to import.
"""

from rover_core.config.env import Env, env_name
from rover_core.config.types import (
    CommaList,
    Duration,
    MinDuration,
    MinSize,
    Size,
    format_duration,
    format_size,
    parse_cli_duration,
    parse_duration,
    parse_size,
)

__all__ = [
    "CommaList",
    "Duration",
    "Env",
    "MinDuration",
    "MinSize",
    "Size",
    "env_name",
    "format_duration",
    "format_size",
    "parse_cli_duration",
    "parse_duration",
    "parse_size",
]
