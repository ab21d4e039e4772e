"""The file formats of this plugin, by the name `--format` takes."""

from rover_core.api import ProfileFormat
from rover_exporter_local.formats.folded import Folded
from rover_exporter_local.formats.html import Html
from rover_exporter_local.formats.pprof import Pprof
from rover_exporter_local.formats.speedscope import Speedscope

FORMATS: dict[str, ProfileFormat] = {each.name: each for each in (Html(), Folded(), Pprof(), Speedscope())}
