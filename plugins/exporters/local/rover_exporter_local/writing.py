"""Writes the files of one task, in a process of its own.

    python -m rover_exporter_local.writing STORE TASK FORMAT...

Whole profiles, call trees and pages of megabytes are only ever in that process's memory, which the system has back
when it ends; the agent keeps neither the memory nor the modules, and its event loop does not wait for the work.
Standard output gets one JSON object a file. Nothing that the agent alone needs (pydantic, structlog) is imported.
"""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from stat import S_IMODE
from typing import TYPE_CHECKING

from rover_core.errors import RoverError
from rover_core.model import Profile, Telemetry
from rover_exporter_local.database import explained, open_for_reading
from rover_exporter_local.files import failure_reason, write_atomically
from rover_exporter_local.formats import Bound, bound
from rover_exporter_local.reading import read_task
from rover_exporter_local.text import moment

if TYPE_CHECKING:
    from rover_core.api import Format

_TERMINATED = 128 + signal.SIGTERM  # as shells have it; leaving by an exception removes the unfinished file


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of one file. failure: why it was not written, else "".

    size (bytes) and modified_ns (nanoseconds, as stat(2) has it) tell the file from one that took its place later.
    """

    path: str
    description: str
    failure: str = ""
    size: int = 0
    modified_ns: int = 0


def write_files(store: Path, task: str, formats: Sequence[str]) -> Iterator[Attempt]:
    """Write the files of a task beside the store. Raises RoverError if it cannot be read or holds no such task."""
    with closing(open_for_reading(store)) as connection, explained(store, "read"):
        seen = read_task(connection, task)
    if seen is None:
        raise RoverError(f"no task {task!r} in {store}", why="it was dropped: see retention and max_size")
    for name in formats:
        if chosen := bound(seen, name):
            yield _write_file(seen, chosen, store)


def _write_file(seen: Profile | Telemetry, chosen: Bound, store: Path) -> Attempt:
    """Whoever may read the store may read it."""
    file_format = chosen.format
    path = _path(seen, file_format, store.parent)
    try:
        write_atomically(path, chosen.write, S_IMODE(store.stat().st_mode))
        stat = path.stat()
    except Exception as error:  # noqa: BLE001  # whatever one format stumbles over, the other files are written
        return Attempt(str(path), file_format.description, failure_reason(error))
    return Attempt(str(path), file_format.description, "", stat.st_size, stat.st_mtime_ns)


def _path(seen: Profile | Telemetry, file_format: Format, directory: Path) -> Path:
    """`<start>-<profiler>.<extension>`, with the task's id where that name is taken."""
    profiler = _file_word(seen.profiler.lower().replace("_", ""))
    stem = f"{moment(seen.start_ns):%Y%m%d-%H%M%S}-{profiler}"
    path = directory / f"{stem}.{file_format.extension}"
    return directory / f"{stem}-{_file_word(seen.task_id)}.{file_format.extension}" if path.exists() else path


def _file_word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)[:80]


def main(store: str, task: str, *formats: str) -> int:
    """Exit status 1, with the reason on standard error, if no file could even be tried."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    try:
        for attempt in write_files(Path(store), task, formats):
            print(json.dumps(asdict(attempt)), flush=True)
    except RoverError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
