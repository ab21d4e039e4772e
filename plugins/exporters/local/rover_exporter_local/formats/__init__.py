"""The file formats of this plugin, by the name `--format` takes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from rover_core.flows import Json
from rover_core.model import Profile, Telemetry
from rover_exporter_local.formats.folded import Folded
from rover_exporter_local.formats.html import Html
from rover_exporter_local.formats.network import NetworkHtml
from rover_exporter_local.formats.pprof import Pprof
from rover_exporter_local.formats.speedscope import Speedscope

if TYPE_CHECKING:  # brings pydantic, which a process that only writes files has no use for
    from rover_core.api import Format, ProfileFormat, TelemetryFormat


class Bound(NamedTuple):
    """A format, and what is to be written in it."""

    format: Format
    write: Callable[[BinaryIO], None]


FORMATS: dict[str, ProfileFormat] = {each.name: each for each in (Html(), Folded(), Pprof(), Speedscope())}

TELEMETRY_FORMATS: dict[str, TelemetryFormat] = {each.name: each for each in (NetworkHtml(), Json())}


def bound(seen: Profile | Telemetry, name: str) -> Bound | None:
    """How to write what was seen in the format of that name; None where it has no such format."""
    if isinstance(seen, Telemetry):
        of_flows = TELEMETRY_FORMATS.get(name)
        return Bound(of_flows, partial(of_flows.write_telemetry, seen)) if of_flows else None
    of_stacks = FORMATS.get(name)
    return Bound(of_stacks, partial(of_stacks.write, seen)) if of_stacks else None
