"""What a plugin hands to Rover: the interfaces behind the hooks. Floor 1.

All are structural (`typing.Protocol`): a plugin need not inherit from anything here. `rover_core.testing` has
conformance suites to subclass in a plugin's own tests.
"""

from rover_core.api.agent import AgentContext, Exporter, PolicySource, TaskSource, TaskState
from rover_core.api.checks import Check, Diagnostic, Health
from rover_core.api.commands import (
    ProfileCommand,
    ProfileOption,
    Protocols,
    RecordCommand,
    RecordingProfiler,
    Replay,
    TlsLibraries,
)
from rover_core.api.discovery import AnnouncingDiscoverer, Discoverer
from rover_core.api.formats import Format, ProfileFormat, TelemetryFormat, TogetherFormat
from rover_core.api.hooks import hookimpl, hookspec
from rover_core.api.observing import Observation, ObservingProfiler, RequestSums, RequestWatch
from rover_core.api.profilers import Batch, InformedProfiler, Profiler
from rover_core.api.protocols import CLASSIFY_BYTES, FAST_BYTES, ExchangeMetric, FastPath, WireProtocol
from rover_core.api.settings import Model, Settings, SettingsSection
from rover_core.api.tls import TlsFile, TlsLibrary, TlsProbe

__all__ = [
    "CLASSIFY_BYTES",
    "FAST_BYTES",
    "AgentContext",
    "AnnouncingDiscoverer",
    "Batch",
    "Check",
    "Diagnostic",
    "Discoverer",
    "ExchangeMetric",
    "Exporter",
    "FastPath",
    "Format",
    "Health",
    "InformedProfiler",
    "Model",
    "Observation",
    "ObservingProfiler",
    "PolicySource",
    "ProfileCommand",
    "ProfileFormat",
    "ProfileOption",
    "Profiler",
    "Protocols",
    "RecordCommand",
    "RecordingProfiler",
    "Replay",
    "RequestSums",
    "RequestWatch",
    "Settings",
    "SettingsSection",
    "TaskSource",
    "TaskState",
    "TelemetryFormat",
    "TlsFile",
    "TlsLibraries",
    "TlsLibrary",
    "TlsProbe",
    "TogetherFormat",
    "WireProtocol",
    "hookimpl",
    "hookspec",
]
