"""The network plugin's hooks."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rover_bpf.requiring import require_host
from rover_core.api import (
    Check,
    Diagnostic,
    ProfileCommand,
    ProfileOption,
    Profiler,
    RecordCommand,
    Settings,
    SettingsSection,
    TlsLibrary,
    WireProtocol,
    hookimpl,
)
from rover_core.config import parse_size
from rover_core.model import Process, Telemetry
from rover_network.rules import parse_rules
from rover_network.settings import NetworkSettings, ProtocolAnalyzeSettings, SamplingSettings
from rover_network.tape import MAGIC

_SAMPLE = "Keep whole exchanges: slow>200ms, 4xx, 5xx, error, uri~REGEX; rules between semicolons."

_RECORD = "What connections carry, and what is counted of them. As it is in the rings of `rover profile network`."
_CONTENT = "Bytes to record of each message, beyond what reading it takes: for --sample when it is replayed."


@hookimpl
def rover_settings() -> list[SettingsSection]:
    return [
        SettingsSection("profiling.task.network", NetworkSettings),
        SettingsSection("profiling.task.network.protocol_analyze", ProtocolAnalyzeSettings),
        SettingsSection("profiling.task.network.protocol_analyze.sampling", SamplingSettings),
    ]


@hookimpl
def rover_profilers(
    settings: Settings,
    protocols: Callable[[], Sequence[WireProtocol]],
    tls_libraries: Callable[[], Sequence[TlsLibrary]],
) -> list[Profiler]:
    from rover_network.profiler import create

    analyze, sampling = settings.section(ProtocolAnalyzeSettings), settings.section(SamplingSettings)
    enabled = _enabled(settings, protocols)
    return [create(settings.section(NetworkSettings), analyze, enabled, sampling, tls_libraries)]


def _enabled(settings: Settings, protocols: Callable[[], Sequence[WireProtocol]]) -> Callable[[], list[WireProtocol]]:
    from rover_network.choosing import choose

    return lambda: choose(protocols(), settings.section(ProtocolAnalyzeSettings).protocols)


@hookimpl
def rover_tls_libraries() -> list[TlsLibrary]:
    from rover_network.tls.go import GoTls
    from rover_network.tls.openssl import OpenSsl

    return [OpenSsl(), GoTls()]


@hookimpl
def rover_profile_commands() -> list[ProfileCommand]:
    summary = "Who exchanges how much with whom. Of every connection its calls, bytes, times and losses."
    options = (ProfileOption("sample", "RULES", _SAMPLE, parse_rules),)
    return [ProfileCommand("NETWORK", "network", summary, options, delivers=Telemetry, require=require_host)]


@hookimpl
def rover_record_commands() -> list[RecordCommand]:
    options = (ProfileOption("content", "SIZE", _CONTENT, parse_size),)
    return [RecordCommand("NETWORK", "network", _RECORD, MAGIC, _record, _replay, _compare, options)]


def _record(settings: Settings, protocols: Callable[[], Sequence[WireProtocol]], *arguments: Any) -> Any:
    from rover_network.recordings import record

    return record(settings, _enabled(settings, protocols), *arguments)


def _replay(*arguments: Any) -> Any:
    from rover_network.recordings import replay

    return replay(*arguments)


def _compare(*arguments: Any) -> Any:
    from rover_network.recordings import check

    return check(*arguments)


@hookimpl
def rover_checks(protocols: Callable[[Settings], Sequence[WireProtocol]]) -> list[Check]:
    def climb(settings: Settings) -> Iterable[Diagnostic]:
        from rover_network.climbing import climb

        profilers = rover_profilers(settings, lambda: protocols(settings), list)
        enabled = _enabled(settings, lambda: protocols(settings))()
        return list(climb(profilers[0], [each.name for each in enabled]))

    return [Check("network", "Follow requests from the system call to the exchange, for five seconds, too.", climb)]


@hookimpl
def rover_diagnostics(settings: Settings) -> Iterable[Diagnostic]:
    from rover_network.diagnosis import diagnose

    return list(diagnose())


@hookimpl
def rover_process_diagnostics(
    process: Process, tls_libraries: Callable[[], Sequence[TlsLibrary]]
) -> Iterable[Diagnostic]:
    from rover_network.diagnosis import diagnose_tls

    return list(diagnose_tls(process.pid, tls_libraries()))
