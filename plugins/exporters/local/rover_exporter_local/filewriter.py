"""The agent's side of writing files: one process at a time, in the background, and a queue in front of it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from rover_core.logs import get_logger

log = get_logger("local")

_WAITING = 64  # tasks; whoever ends more at a time has their files from `rover history export`
_LINES = 20
_LATER = "`rover history export` can write it later"


class FileWriter:
    """Lives on the event loop. `lines` says what became of the newest files, the oldest of them first.

    written: called with path, size and time of change (`writing.Attempt`) of every file that was written.
    """

    def __init__(
        self, store: Path, formats: Sequence[str], written: Callable[[str, int, int], Awaitable[None]]
    ) -> None:
        self._store = store
        self._formats = formats
        self._written = written
        self._waiting: deque[str] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._in_hand = ""
        self.lines: deque[str] = deque(maxlen=_LINES)

    def write(self, task: str) -> None:
        """Have the files of a task written, after those that were asked for before."""
        if not self._formats or task in self._waiting:
            return
        if len(self._waiting) >= _WAITING:
            self._failed(task, f"{_WAITING} other tasks wait for theirs")
            return
        self._waiting.append(task)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work(), name="local exporter's files")

    async def finish(self, timeout_s: float) -> None:
        """Wait until everything is written, but no longer than that: what is not is given up, and said."""
        if self._worker is None:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._worker
        except TimeoutError:
            for task in (self._in_hand, *self._waiting):
                self._failed(task, f"the agent stops and it takes longer than {timeout_s:g} s")
            self._waiting.clear()

    async def _work(self) -> None:
        while self._waiting:
            task = self._in_hand = self._waiting.popleft()
            try:
                async with aclosing(self._attempts(task)) as attempts:
                    async for attempt in attempts:
                        await self._record(attempt)
            except Exception as error:  # noqa: BLE001  # whatever it is, the next task's files may fare better
                self._failed(task, str(error))

    async def _record(self, attempt: dict[str, Any]) -> None:
        path, failure = attempt["path"], attempt["failure"]
        if failure:
            log.warning("file not written", path=path, reason=failure)
            self.lines.append(f"not written: {path} ({failure}); {_LATER}")
        else:
            log.info("file written", path=path, bytes=attempt["size"])
            self.lines.append(f"{attempt['description']}: {path}")
            await self._written(path, attempt["size"], attempt["modified_ns"])

    async def _attempts(self, task: str) -> AsyncGenerator[dict[str, Any], None]:
        """Run the process; each of its lines as it comes. Raises RuntimeError with its last words if it fails."""
        # -P: a file named like one of our modules, in the folder the agent runs in, must not be run as root.
        command = [sys.executable, "-P", "-m", "rover_exporter_local.writing", str(self._store), task, *self._formats]
        # A session of its own: Ctrl-C ends the agent, which has the files written first.
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async for line in process.stdout:
                yield json.loads(line)
            words = (await process.stderr.read()).decode(errors="replace").strip()
            if await process.wait():
                raise RuntimeError(words.splitlines()[-1] if words else f"its writer ended with {process.returncode}")
        finally:
            if process.returncode is None:
                process.terminate()  # it removes its unfinished file
                await process.wait()

    def _failed(self, task: str, reason: str) -> None:
        log.warning("files not written", task=task, reason=reason)
        self.lines.append(f"no files of task {task}: {reason}; {_LATER}")
