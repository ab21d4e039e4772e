"""The network plugin's hooks."""

from collections.abc import Callable, Iterable, Sequence

from rover_core.api import (
    Diagnostic,
    ProfileCommand,
    ProfileOption,
    Profiler,
    Settings,
    SettingsSection,
    WireProtocol,
    hookimpl,
)
from rover_core.model import Telemetry
from rover_network.rules import parse_rules
from rover_network.settings import NetworkSettings, ProtocolAnalyzeSettings, SamplingSettings

_SAMPLE = "Keep whole exchanges: slow>200ms, 4xx, 5xx, error, uri~REGEX; rules between semicolons."


@hookimpl
def rover_settings() -> list[SettingsSection]:
    return [
        SettingsSection("profiling.task.network", NetworkSettings),
        SettingsSection("profiling.task.network.protocol_analyze", ProtocolAnalyzeSettings),
        SettingsSection("profiling.task.network.protocol_analyze.sampling", SamplingSettings),
    ]


@hookimpl
def rover_profilers(settings: Settings, protocols: Callable[[], Sequence[WireProtocol]]) -> list[Profiler]:
    from rover_network.profiler import create

    analyze, sampling = settings.section(ProtocolAnalyzeSettings), settings.section(SamplingSettings)
    return [create(settings.section(NetworkSettings), analyze, protocols, sampling)]


@hookimpl
def rover_profile_commands() -> list[ProfileCommand]:
    summary = "Who exchanges how much with whom: every connection, its calls, bytes, times and losses."
    options = (ProfileOption("sample", "RULES", _SAMPLE, parse_rules),)
    return [ProfileCommand("NETWORK", "network", summary, options, delivers=Telemetry)]


@hookimpl
def rover_diagnostics(settings: Settings) -> Iterable[Diagnostic]:
    from rover_network.diagnosis import diagnose

    return list(diagnose())
