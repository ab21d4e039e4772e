"""The processes of this host, as the discoverers last saw them."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from rover_core.api import AnnouncingDiscoverer, Discoverer
from rover_core.logs import get_logger
from rover_core.model import Process, ProcessKey

log = get_logger("processes")


_GATHER_S = 0.05  # what begins or ends within this time is looked at together
_SHARE = 20  # a twentieth of a processor is what looking at the announced may take


class ProcessRegistry:
    """Keeps what discoverers find. Where two find the same process, what they know is joined.

    tell: called with all processes after each scan.
    """

    def __init__(
        self, discoverers: Sequence[Discoverer], tell: Callable[[Collection[Process]], None] = lambda processes: None
    ) -> None:
        self._discoverers = discoverers
        self._tell = tell
        self._answers: dict[int, list[Process]] = {}
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

    async def scan(self, only: Sequence[Discoverer] | None = None) -> float:
        """Ask every discoverer, or only these, in a thread. One that fails is logged once and keeps none of its
        processes. Returns the CPU seconds that they took."""
        asked = self._discoverers if only is None else only
        answers = await asyncio.gather(*(asyncio.to_thread(self._ask, each) for each in asked))
        self._answers |= {id(each): answer for each, (answer, _) in zip(asked, answers, strict=True)}
        self._processes = join_processes(self._answers[id(each)] for each in self._discoverers)
        self._by_pid = {process.pid: process for process in self._processes.values()}
        self._tell(self.processes)
        return sum(spent_s for _, spent_s in answers)

    def _ask(self, discoverer: Discoverer) -> tuple[list[Process], float]:
        start_s = time.thread_time()
        return self._scan(discoverer), time.thread_time() - start_s

    def _scan(self, discoverer: Discoverer) -> list[Process]:
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
        """Scan for ever: period_ns apart, and in between where a discoverer announces something."""
        period_s = period_ns / 1e9
        announcing = await asyncio.to_thread(self._announcing)
        try:
            while True:
                due_s, pause_s = time.monotonic() + period_s, 0.0
                await self.scan()
                while changed := await _changes(announcing, pause_s, due_s):
                    pause_s = _SHARE * await self.scan(changed)
        finally:
            for each in announcing.values():
                each.close()

    def _announcing(self) -> dict[int, AnnouncingDiscoverer]:
        """By the descriptors on which they do."""
        able = [each for each in self._discoverers if isinstance(each, AnnouncingDiscoverer)]
        return {handle: each for each in able if (handle := self._fileno(each)) is not None}

    def _fileno(self, discoverer: AnnouncingDiscoverer) -> int | None:
        try:
            return discoverer.fileno()
        except Exception as error:  # a plugin's, whatever it is: it is then asked period by period  # noqa: BLE001
            log.warning("discoverer does not announce", discoverer=discoverer.name, reason=str(error))
            return None


async def _changes(
    announcing: Mapping[int, AnnouncingDiscoverer], pause_s: float, due_s: float
) -> list[AnnouncingDiscoverer]:
    """Those that announce something, after a pause; none when the time is due_s (of time.monotonic)."""
    left_s = due_s - time.monotonic()
    await asyncio.sleep(max(0.0, min(pause_s, left_s)))
    changed = await _first_readable(list(announcing), due_s - time.monotonic())
    if not changed or due_s - time.monotonic() < _GATHER_S:
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        return []
    await asyncio.sleep(_GATHER_S)
    return [announcing[handle] for handle in changed]


async def _first_readable(handles: Sequence[int], timeout_s: float) -> list[int]:
    """Those that are readable as soon as one is; none if none is in time."""
    loop, readable, found = asyncio.get_running_loop(), asyncio.Event(), []

    def note(handle: int) -> None:
        loop.remove_reader(handle)
        found.append(handle)
        readable.set()

    for handle in handles:
        loop.add_reader(handle, note, handle)
    try:
        async with asyncio.timeout(max(0.0, timeout_s)):
            await readable.wait()
    except TimeoutError:
        pass
    finally:
        for handle in handles:
            loop.remove_reader(handle)
    return found


def join_processes(answers: Iterable[Iterable[Process]]) -> dict[ProcessKey, Process]:
    """What several discoverers found, each process once."""
    found: dict[ProcessKey, Process] = {}
    for processes in answers:
        for process in processes:
            known = found.get(process.key)
            found[process.key] = _join(known, process) if known else process
    return found


def _join(first: Process, second: Process) -> Process:
    """Where both have a property, the first one's value counts."""
    properties = dict(second.properties) | dict(first.properties)
    entities = tuple(dict.fromkeys(first.entities + second.entities))
    return replace(first, entities=entities, properties=tuple(properties.items()))
