"""For the tests of plugins: stand-ins for what a plugin talks to, records to feed it, and suites it must pass.

Needs pytest for nothing; works with any runner that collects `test_*` methods. Fuzzing protocols needs Hypothesis.
docs/writing-a-plugin.md and docs/writing-a-protocol.md have examples.
"""

from rover_core.classifiers import Classify, compiled
from rover_core.testing.conformance import ExporterConformance, FormatConformance, ProfilerConformance
from rover_core.testing.fakes import FakeContext, FakeDiscoverer, FakeExporter, FakeProfiler
from rover_core.testing.protocols import ProtocolConformance, Transcript
from rover_core.testing.records import make_profile, make_sample, make_sampled, make_telemetry, this_process

__all__ = [
    "Classify",
    "ExporterConformance",
    "FakeContext",
    "FakeDiscoverer",
    "FakeExporter",
    "FakeProfiler",
    "FormatConformance",
    "ProfilerConformance",
    "ProtocolConformance",
    "Transcript",
    "compiled",
    "make_profile",
    "make_sample",
    "make_sampled",
    "make_telemetry",
    "this_process",
]
