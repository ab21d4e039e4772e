"""What `rover record network` and `rover replay` are given by this plugin."""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from rover_core.api import Diagnostic, Protocols, Settings, TlsLibraries
from rover_network.profiler import NetworkProfiler
from rover_network.recorder import Recorder
from rover_network.replaying import Replay
from rover_network.settings import NetworkSettings, ProtocolAnalyzeSettings, SamplingSettings


class RecordingProfiler(NetworkProfiler):
    """A `rover_core.api.RecordingProfiler`."""

    def __init__(
        self, recorder: Recorder, settings: Settings, protocols: Protocols, tls_libraries: TlsLibraries
    ) -> None:
        network, analyze, sampling = _sections(settings)
        super().__init__(network, analyze, protocols, sampling, recorder, tls_libraries=tls_libraries)
        self._writes = recorder

    @property
    def written(self) -> int:
        return self._writes.written

    @property
    def stopped(self) -> str:
        return self._writes.stopped

    def close(self) -> None:
        super().close()
        self._writes.close()


def _sections(settings: Settings) -> tuple[NetworkSettings, ProtocolAnalyzeSettings, SamplingSettings]:
    section = settings.section
    return section(NetworkSettings), section(ProtocolAnalyzeSettings), section(SamplingSettings)


def record(
    settings: Settings,
    protocols: Protocols,
    tls_libraries: TlsLibraries,
    out: BinaryIO,
    room: int,
    options: Mapping[str, Any],
) -> RecordingProfiler:
    return RecordingProfiler(Recorder(out, room, options.get("content", 0)), settings, protocols, tls_libraries)


def replay(settings: Settings, protocols: Protocols, file: BinaryIO) -> Replay:
    network, analyze, sampling = _sections(settings)
    return Replay(file, network, analyze, protocols, sampling)


def check(settings: Settings, protocols: Protocols, file: BinaryIO) -> Iterator[Diagnostic]:
    from rover_network.verdicts import compare

    return compare(file, protocols())
