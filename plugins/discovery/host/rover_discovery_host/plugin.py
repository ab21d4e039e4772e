"""The plugin's hooks."""

from collections.abc import Sequence

from rover_core.api import Discoverer, Settings, SettingsSection, hookimpl
from rover_discovery_host.settings import HostSettings


@hookimpl
def rover_settings() -> Sequence[SettingsSection]:
    return [SettingsSection("process_discovery.scanner", HostSettings)]


@hookimpl
def rover_discoverers(settings: Settings) -> Sequence[Discoverer]:
    from rover_core.config.sections import ScannerSettings
    from rover_discovery_host.discoverer import HostDiscoverer

    return [HostDiscoverer(settings.section(HostSettings), settings.section(ScannerSettings).period)]
