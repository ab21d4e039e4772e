"""Keeps what the agent saw: every batch in the store, and files of each task when the agent stops."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import structlog

from rover_core.api import AgentContext, Batch, ProfileFormat
from rover_core.errors import RoverError
from rover_core.model import Profile
from rover_exporter_local.files import failure_reason, write_atomically
from rover_exporter_local.formats import FORMATS
from rover_exporter_local.settings import LocalSettings, store_path
from rover_exporter_local.text import moment

if TYPE_CHECKING:
    from rover_exporter_local.store import Store

log = structlog.get_logger(__name__)
_Result = TypeVar("_Result")


class LocalExporter:
    """All blocking work is done in threads, one piece at a time."""

    name = "local"

    def __init__(self, settings: LocalSettings) -> None:
        self._settings = settings
        self._formats: list[ProfileFormat] = [FORMATS[name] for name in settings.formats]
        self._lock = asyncio.Lock()
        self._store: Store | None = None
        self._tasks: dict[str, None] = {}
        self._written: set[Path] = set()

    async def start(self, context: AgentContext) -> None:
        """Open the store; RoverError says why that is not possible."""
        self._store = await self._in_thread(self._open)

    async def export(self, batch: Batch) -> None:
        self._tasks[await self._in_thread(lambda: self._opened.add(batch))] = None

    async def stop(self) -> Sequence[str]:
        """Write the files. Returns a line for each: its path, or why it could not be written."""
        if self._store is None:
            return []
        try:
            lines = [await self._in_thread(partial(self._write, task)) for task in self._tasks]
            return [line for each in lines for line in each]
        finally:
            await self._in_thread(self._opened.close)
            self._store = None

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
        return Store.open(store_path(s.directory), retention_ns=s.retention, max_size=s.max_size)

    def _write(self, task_id: str) -> list[str]:
        try:
            profile = self._opened.load(task_id)
        except RoverError as error:
            return [f"no files of task {task_id}: {error}"]
        return [self._write_file(profile, each) for each in self._formats]

    def _write_file(self, profile: Profile, file_format: ProfileFormat) -> str:
        path = self._path(profile, file_format)
        try:
            write_atomically(path, lambda out: file_format.write(profile, out))
        except Exception as error:  # noqa: BLE001  # whatever one format stumbles over, the other files are written
            log.warning("file not written", path=str(path), reason=failure_reason(error))
            return f"not written: {path} ({failure_reason(error)}); `rover history export` can write it later"
        return f"{file_format.description}: {path}"

    def _path(self, profile: Profile, file_format: ProfileFormat) -> Path:
        """`<start>-<profiler>.<extension>`, with the task's id where that name is taken."""
        profiler = _file_word(profile.profiler.lower().replace("_", ""))
        stem = f"{moment(profile.start_ns):%Y%m%d-%H%M%S}-{profiler}"
        path = self._settings.directory / f"{stem}.{file_format.extension}"
        if path in self._written or path.exists():
            path = self._settings.directory / f"{stem}-{_file_word(profile.task_id)}.{file_format.extension}"
        self._written.add(path)
        return path


def _file_word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)[:80]
