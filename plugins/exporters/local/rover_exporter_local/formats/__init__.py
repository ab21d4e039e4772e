"""The file formats of this plugin, by the name `--format` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rover_exporter_local.formats.folded import Folded
from rover_exporter_local.formats.html import Html
from rover_exporter_local.formats.network import NetworkHtml
from rover_exporter_local.formats.pprof import Pprof
from rover_exporter_local.formats.speedscope import Speedscope

if TYPE_CHECKING:  # brings pydantic, which a process that only writes files has no use for
    from rover_core.api import ProfileFormat, TelemetryFormat

TELEMETRY_FORMATS: dict[str, TelemetryFormat] = {each.name: each for each in (NetworkHtml(),)}

FORMATS: dict[str, ProfileFormat] = {each.name: each for each in (Html(), Folded(), Pprof(), Speedscope())}
