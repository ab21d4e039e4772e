"""The core's own sections of the settings tree."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

from rover_core.api import SettingsSection
from rover_core.config.env import Env
from rover_core.config.types import CommaList, Duration, MinDuration, parse_duration


def _read_level(value: Any) -> Any:
    level = value.upper() if isinstance(value, str) else value
    return "WARNING" if level == "WARN" else level


_Level = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_read_level)]
_Interval = Annotated[Duration, MinDuration("100ms")]


class LoggerSettings(BaseModel):
    """The agent's own log, on stderr. `auto` is what people read; `json` is for log collectors."""

    level: _Level = "INFO"
    format: Literal["auto", "console", "json"] = "auto"


class ProfilingSettings(BaseModel):
    """Profiling in general.

    flush_interval: how often results leave the profilers. check_interval: how often a backend is asked for tasks.
    standalone: profilers to run over the whole host when no plugin brings tasks.
    """

    active: bool = True
    flush_interval: _Interval = parse_duration("5s")
    check_interval: _Interval = parse_duration("10s")
    standalone: CommaList = ("ON_CPU",)


class ScannerSettings(BaseModel):
    """How often the discoverers look for processes."""

    period: Annotated[_Interval, Env("ROVER_PROCESS_DISCOVERY_SCAN_PERIOD")] = parse_duration("3s")


class PipelineSettings(BaseModel):
    """queue_size: batches that may wait in front of each exporter before the newest are dropped and counted."""

    queue_size: Annotated[int, Field(ge=1)] = 64


class PluginsSettings(BaseModel):
    """disabled: entry point names of plugins that must not run."""

    disabled: Annotated[CommaList, Env("ROVER_DISABLED_PLUGINS")] = ()


CORE_SECTIONS = (
    SettingsSection("logger", LoggerSettings),
    SettingsSection("profiling", ProfilingSettings),
    SettingsSection("process_discovery.scanner", ScannerSettings),
    SettingsSection("pipeline", PipelineSettings),
    SettingsSection("plugins", PluginsSettings),
)
