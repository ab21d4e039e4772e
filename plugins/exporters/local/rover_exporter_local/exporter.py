"""Keeps what the agent saw: every batch in the store, and files of each task when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from rover_core.api import AgentContext, Batch
from rover_core.errors import RoverError
from rover_core.model import Telemetry
from rover_exporter_local.filewriter import FileWriter
from rover_exporter_local.settings import LocalSettings, store_path

if TYPE_CHECKING:
    from rover_exporter_local.store import Store

_Result = TypeVar("_Result")
_STOP_WITHIN_S = 2.0  # of the 2.5 that the agent gives exporters, so that what was written is still told
_UNFINISHED = 1000  # tasks whose last profile is awaited; a lost one must not be remembered for ever


class LocalExporter:
    """All work on the store is done in threads, one piece at a time; files are written by other processes."""

    name = "local"

    def __init__(self, settings: LocalSettings) -> None:
        self._settings = settings
        self._lock = asyncio.Lock()
        self._store: Store | None = None
        self._unfinished: dict[str, None] = {}
        self._files = FileWriter(store_path(settings.directory), settings.formats, self._keep)

    async def start(self, context: AgentContext) -> None:
        """Open the store; RoverError says why that is not possible."""
        self._store = await self._in_thread(self._open)

    async def export(self, batch: Batch) -> None:
        """Store a profile or telemetry. With a task's last one its files are begun, which nobody waits for.

        What is of no task, metrics for a backend, is not kept.
        """
        if not batch.task_id:
            return
        if isinstance(batch, Telemetry) and batch.samples:
            await self._in_thread(lambda: self._opened.add_samples(batch))
        task = await self._in_thread(lambda: self._opened.add(batch))
        if batch.last:
            self._unfinished.pop(task, None)
            self._files.write(task)
        else:
            self._unfinished[task] = None
            if len(self._unfinished) > _UNFINISHED:
                del self._unfinished[next(iter(self._unfinished))]

    async def stop(self) -> Sequence[str]:
        """Write the files of tasks that did not end. A line for each of the newest files since the start."""
        if self._store is None:
            return []
        try:
            for task in self._unfinished:
                self._files.write(task)
            await self._files.finish(_STOP_WITHIN_S)
            return list(self._files.lines)
        finally:
            await self._in_thread(self._opened.close)
            self._store = None

    async def _keep(self, path: str, size: int, modified_ns: int) -> None:
        """Have retention look after a file that was written."""
        await self._in_thread(lambda: self._opened.add_file(path, size, modified_ns))

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        async with self._lock:
            return await asyncio.to_thread(work)

    @property
    def _opened(self) -> Store:
        if self._store is None:
            raise RoverError("profile not kept", why="the local exporter could not be started")
        return self._store

    def _open(self) -> Store:
        # sqlite3 is only imported here, by an agent that has this exporter switched on.
        from rover_exporter_local.store import Store

        s = self._settings
        return Store.open(store_path(s.directory), retention_ns=s.retention, max_size=s.max_size, mode=int(s.mode, 8))
