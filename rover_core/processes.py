"""The processes of this host, as the discoverers last saw them."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace

from rover_core.api import Discoverer
from rover_core.logs import get_logger
from rover_core.model import Process, ProcessKey

log = get_logger("processes")


class ProcessRegistry:
    """Keeps what discoverers find. Where two find the same process, their entities are joined."""

    def __init__(self, discoverers: Sequence[Discoverer]) -> None:
        self._discoverers = discoverers
        self._processes: dict[ProcessKey, Process] = {}
        self._by_pid: dict[int, Process] = {}
        self._failing: set[str] = set()

    def __len__(self) -> int:
        return len(self._processes)

    @property
    def processes(self) -> Collection[Process]:
        return self._processes.values()

    def find(self, pid: int) -> Process | None:
        return self._by_pid.get(pid)

    async def scan(self) -> None:
        """Ask every discoverer, in a thread. One that fails is logged once and keeps none of its processes."""
        found: dict[ProcessKey, Process] = {}
        answers = await asyncio.gather(*(asyncio.to_thread(self._ask, each) for each in self._discoverers))
        for processes in answers:
            for process in processes:
                known = found.get(process.key)
                found[process.key] = _join(known, process) if known else process
        self._processes = found
        self._by_pid = {process.pid: process for process in found.values()}

    def _ask(self, discoverer: Discoverer) -> list[Process]:
        try:
            processes = list(discoverer.scan())
        except Exception as error:  # a plugin's, whatever it is: the others go on  # noqa: BLE001
            if discoverer.name not in self._failing:
                log.warning("discoverer failed", discoverer=discoverer.name, reason=str(error))
            self._failing.add(discoverer.name)
            return []
        self._failing.discard(discoverer.name)
        return processes

    async def keep_scanning(self, period_ns: int) -> None:
        """Scan for ever, period_ns apart."""
        while True:
            await self.scan()
            await asyncio.sleep(period_ns / 1e9)


def _join(first: Process, second: Process) -> Process:
    return replace(first, entities=tuple(dict.fromkeys(first.entities + second.entities)))
