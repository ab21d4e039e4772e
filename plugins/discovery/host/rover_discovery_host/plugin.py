"""The plugin's hooks."""

from collections.abc import Sequence

from rover_core.api import Discoverer, Settings, hookimpl
from rover_discovery_host.discoverer import HostDiscoverer


@hookimpl
def rover_discoverers(settings: Settings) -> Sequence[Discoverer]:
    return [HostDiscoverer()]
