"""The processes of the host, who they are, and what is known of them."""

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from rover_core.errors import UsageError
from rover_core.identity.profilable import interpreter_of
from rover_core.identity.properties import SUPPORT, Properties
from rover_core.logs import get_logger
from rover_core.model import Entity, Process, ProcessKey
from rover_core.procfs import ProcessTable, proc_root
from rover_discovery_host.events import ProcessEvents
from rover_discovery_host.finders import Find, by_executable, by_regex
from rover_discovery_host.sensor import AgentSensor, Sensed
from rover_discovery_host.settings import HostSettings

log = get_logger("host")

_NS = 1_000_000_000
_WHOLE_PERIODS = 10  # with events, all of /proc is read this much more rarely, for what no event tells


@dataclass(frozen=True, slots=True)
class _Found:
    """bare: as the table has it; sensed: what an agent said; interpreted: a perf map may appear yet."""

    bare: Process
    sensed: Sensed | None
    process: Process
    interpreted: bool = False


class HostDiscoverer:
    """Reads /proc (or ROVER_HOST_PROC_MAPPING): all of it every `period_ns`, and with the kernel's events (`fileno`)
    at once what these tell, and all of it ten times more rarely.

    root: another /proc to read, for tests; it has no events.
    """

    name = "host"

    def __init__(
        self, settings: HostSettings | None = None, period_ns: int = 3 * _NS, root: Path | None = None
    ) -> None:
        settings, place = settings or HostSettings(), root or proc_root()
        self._table = ProcessTable(place)
        self._properties = Properties(place, redacted=settings.redact_secrets)
        self._place, self._has_events = place, root is None
        self._finds = _finds(settings)
        refresh_ns = settings.agent.process_status_refresh_period
        self._sensor = AgentSensor(place, refresh_ns) if "AGENT_SENSOR" in settings.modes else None
        self._events: ProcessEvents | None = None
        self._period_ns = period_ns
        self._looked_ns = self._scanned_ns = 0
        self._found: dict[ProcessKey, _Found] = {}
        self._sensed: dict[ProcessKey, Sensed] = {}
        self._warned: set[Find] = set()

    def fileno(self) -> int | None:
        """A descriptor that is readable when processes have changed; None if the kernel does not say."""
        if self._events is None and self._has_events:
            try:
                self._events = ProcessEvents()
            except OSError as error:
                self._has_events = False
                log.info("no process events, scanning instead", reason=error.strerror)
        return self._events.fileno() if self._events else None

    def close(self) -> None:
        """Give the descriptor back."""
        if self._events:
            self._events.close()
        self._events, self._has_events = None, False

    def scan(self) -> Iterable[Process]:
        """Every process there is now, kernel threads included, with the entity it is to a backend.

        One that has not changed is the same object as at the scan before.
        """
        now_ns = time.monotonic_ns()
        due = now_ns - self._looked_ns > 0.9 * self._period_ns  # not woken in between by an event
        self._look(now_ns, due)
        processes = self._table.processes
        if due:
            self._looked_ns = now_ns
            self._sensed = self._sensor.look(processes) if self._sensor else {}
        self._found = {process.key: self._described(process, due) for process in processes}
        return [found.process for found in self._found.values()]

    def _look(self, now_ns: int, due: bool) -> None:
        changed = self._changed()
        since_ns = now_ns - self._scanned_ns
        if changed is None or not self._scanned_ns or since_ns > _WHOLE_PERIODS * self._period_ns:
            self._table.scan()
            self._scanned_ns = now_ns
        else:
            self._table.update({*changed, *self._table.unsettled} if due else changed)

    def _changed(self) -> Collection[int] | None:
        """Pids that events name; None if only a look at all of them tells."""
        try:
            return self._events.read() if self._events else None
        except OSError as error:
            log.warning("no more process events, scanning instead", reason=error.strerror)
            self.close()
            return None

    def _described(self, bare: Process, due: bool) -> _Found:
        known, sensed = self._found.get(bare.key), self._sensed.get(bare.key)
        if known is None or known.bare is not bare or known.sensed != sensed:
            return self._describe(bare, sensed)
        if due and known.interpreted and self._properties.support(bare) == "true":
            return self._describe(bare, sensed)
        return known

    def _describe(self, bare: Process, sensed: Sensed | None) -> _Found:
        if bare.kernel_thread:
            return _Found(bare, sensed, bare)
        entity = sensed.entity if sensed else self._entity(bare)
        properties = dict(self._properties.of(bare))
        interpreted = properties[SUPPORT] == "false" and bool(interpreter_of(f"{self._place}/{bare.pid}"))
        if sensed:
            properties = dict(sensed.properties) | properties
        process = replace(bare, entities=(entity,) if entity else (), properties=tuple(properties.items()))
        return _Found(bare, sensed, process, interpreted)

    def _entity(self, process: Process) -> Entity | None:
        """By the first finder that knows it. One that fails for a process is named once, not process by process."""
        for find in self._finds:
            try:
                if entity := find(process):
                    return entity
            except UsageError as error:
                if find not in self._warned:
                    self._warned.add(find)
                    log.warning("process has no name", pid=process.pid, reason=error.what)
        return None


def _finds(settings: HostSettings) -> list[Find]:
    """In the order in which they are asked; SkyWalking agents, if they are, come before all of them."""
    finds: list[Find] = []
    if "REGEX" in settings.modes:
        for number, entry in enumerate(settings.regex):
            place = f"process_discovery.scanner.regex[{number}]"
            finds += [by_regex(entry, place, redacted=settings.redact_secrets)] if entry.match_cmd else []
        if not finds:
            log.warning("mode REGEX finds nothing: process_discovery.scanner.regex has no match_cmd")
    return [*finds, by_executable()] if "ALL" in settings.modes else finds
