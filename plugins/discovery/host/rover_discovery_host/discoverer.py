"""Every process of the host, each a service of its own named after its executable."""

import socket
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from rover_core.model import Entity, Process, ProcessKey
from rover_core.procfs import ProcessTable

LAYER = "OS_LINUX"
"""SkyWalking's layer for plain hosts."""


class HostDiscoverer:
    """Reads /proc (or ROVER_HOST_PROC_MAPPING).

    root: another /proc to read, for tests.
    """

    name = "host"

    def __init__(self, root: Path | None = None) -> None:
        self._table = ProcessTable(root)
        self._instance = socket.gethostname()
        self._found: dict[ProcessKey, tuple[Process, Process]] = {}

    def scan(self) -> Iterable[Process]:
        """Every process there is now, kernel threads included, with the entity it is to a backend."""
        self._found = {bare.key: self._described(bare) for bare in self._table.scan()}
        return [process for _, process in self._found.values()]

    def _described(self, bare: Process) -> tuple[Process, Process]:
        """As before if the table says it has not changed, which is so for nearly all at nearly every scan."""
        known = self._found.get(bare.key)
        return known if known and known[0] is bare else (bare, replace(bare, entities=(self._entity(bare),)))

    def _entity(self, process: Process) -> Entity:
        return Entity(LAYER, service=process.name, instance=self._instance, process=process.name)
