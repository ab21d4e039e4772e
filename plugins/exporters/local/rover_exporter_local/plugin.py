"""The hooks of the local exporter."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rover_core.api import Exporter, Format, Settings, SettingsSection, hookimpl
from rover_exporter_local.settings import SECTION, LocalSettings

if TYPE_CHECKING:
    import click


@hookimpl
def rover_settings() -> Sequence[SettingsSection]:
    return [SettingsSection(SECTION, LocalSettings)]


@hookimpl
def rover_exporters(settings: Settings) -> Sequence[Exporter]:
    from rover_exporter_local.exporter import LocalExporter

    return [LocalExporter(settings.section(LocalSettings))]


@hookimpl
def rover_formats() -> Sequence[Format]:
    from rover_exporter_local.formats import FORMATS, TELEMETRY_FORMATS

    return [*FORMATS.values(), TELEMETRY_FORMATS["html"]]


@hookimpl
def rover_commands(cli: "click.Group") -> None:
    from rover_exporter_local.commands import history
    from rover_exporter_local.tracing import trace

    cli.add_command(history)
    cli.add_command(trace)
