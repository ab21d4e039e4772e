"""The exporter and its formats pass the suites for all exporters and formats."""

from pathlib import Path

from rover_core.api import ProfileFormat
from rover_core.testing import ExporterConformance, FormatConformance
from rover_exporter_local.exporter import LocalExporter
from rover_exporter_local.formats import FORMATS
from rover_exporter_local.settings import LocalSettings


class TestLocal(ExporterConformance):
    def make(self, folder: Path) -> LocalExporter:
        return LocalExporter(LocalSettings(directory=folder, formats=("html", "folded", "pprof", "speedscope")))


class TestFolded(FormatConformance):
    def make(self) -> ProfileFormat:
        return FORMATS["folded"]


class TestHtml(FormatConformance):
    def make(self) -> ProfileFormat:
        return FORMATS["html"]


class TestPprof(FormatConformance):
    def make(self) -> ProfileFormat:
        return FORMATS["pprof"]


class TestSpeedscope(FormatConformance):
    def make(self) -> ProfileFormat:
        return FORMATS["speedscope"]
