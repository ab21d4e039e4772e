"""Profiles on disk: one SQLite file, bounded by age and by size, readable while it is written."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rover_core.errors import UsageError
from rover_core.logs import get_logger
from rover_core.model import Completeness, Profile, StackSample, Telemetry
from rover_exporter_local import exchanges, filekeeping
from rover_exporter_local.database import PRIVATE, explained, open_for_reading, open_for_writing
from rover_exporter_local.flowpacking import pack
from rover_exporter_local.intern import Interner
from rover_exporter_local.reading import TaskSummary, read_task, read_tasks
from rover_exporter_local.retention import delete, end_of, oldest, size_in_use, too_old
from rover_exporter_local.text import encodable

log = get_logger("local")
_NEVER = 1 << 63
_Result = TypeVar("_Result")


class Store:
    """Made by `open` (to write) or `read`. Methods raise RoverError when the file fails them.

    May be used from any thread, but not from two at a time. dropped, removed: how many profiles and
    files retention took.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, retention_ns: int, max_size: int) -> None:
        self.path = path
        self.dropped = 0
        self.removed = 0
        self._connection = connection
        self._retention_ns = retention_ns
        self._max_size = max_size
        self._interner = Interner(connection)
        self._names: dict[str, str] = {}

    @classmethod
    def open(cls, path: Path, *, retention_ns: int = 0, max_size: int = 0, mode: int = PRIVATE) -> Store:
        """For writing; made if need be. retention_ns, max_size (bytes, with the files): bounds, 0 for none.

        mode: of the file, as stat(2) has it; a folder that is made lets the same people in.
        """
        store = cls(path, open_for_writing(path, mode), retention_ns, max_size)
        try:
            store._retain()
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def read(cls, path: Path) -> Store:
        """For reading alone, also while an agent writes to it. RoverError if there is none."""
        return cls(path, open_for_reading(path), 0, 0)

    def add(self, profile: Profile | Telemetry) -> str:
        """Store one profile, or telemetry without its meters, all or nothing, then drop what is too old or too much.

        Returns the name to find it by: the task's id, or `id~2` where an earlier run left a task of that id.
        """
        with explained(self.path, "write to"):
            name = self._names[profile.task_id] = self._transaction(partial(self._insert, profile))
        if profile.last:
            del self._names[profile.task_id]
        self._retain()
        return name

    def add_samples(self, telemetry: Telemetry) -> None:
        """Store its sampled exchanges, all or none, then drop what is too old or too much."""
        if telemetry.samples:
            with explained(self.path, "write to"):
                self._transaction(partial(exchanges.insert, self._connection, telemetry))
            self._retain()

    def samples(self, limit: int, task: str | None = None) -> list[dict[str, Any]]:
        """Records of the last sampled exchanges, of this task or of all, the oldest of them first."""
        with explained(self.path, "read"):
            return exchanges.read_latest(self._connection, limit, task)

    def count_samples(self, task: str) -> int:
        """How many exchanges a task has sampled."""
        with explained(self.path, "read"):
            return exchanges.count(self._connection, task)

    def find_samples(self, name: str) -> list[dict[str, Any]]:
        """The record of a sampled exchange by its id, or those of a trace."""
        with explained(self.path, "read"):
            return exchanges.read_named(self._connection, name)

    def add_file(self, path: str, size: int, modified_ns: int) -> None:
        """Remember a file in the store's directory, for retention to look after."""
        with explained(self.path, "write to"):
            filekeeping.remember(self._connection, filekeeping.KeptFile(Path(path).name, size, modified_ns))
        self._retain()

    def tasks(self) -> list[TaskSummary]:
        """Every task there is, the one begun last at the end."""
        with explained(self.path, "read"):
            return read_tasks(self._connection)

    def load(self, task_id: str) -> Profile | Telemetry:
        """Everything stored of a task, equal stacks or flows added up. UsageError if there is nothing."""
        with explained(self.path, "read"):
            found = read_task(self._connection, task_id)
        if found is None:
            remedy = "`rover history list` shows what there is"
            raise UsageError(f"no task {task_id!r} in {self.path}", remedy=remedy)
        return found

    def size(self) -> int:
        """Bytes in use."""
        with explained(self.path, "read"):
            return size_in_use(self._connection)

    def close(self) -> None:
        with explained(self.path, "close"):
            self._connection.close()

    def _transaction(self, work: Callable[[], _Result]) -> _Result:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            result = work()
            self._connection.execute("COMMIT")
        except BaseException:
            self._interner.forget()
            if self._connection.in_transaction:  # a full disk has rolled it back already
                self._connection.execute("ROLLBACK")
            raise
        return result

    def _insert(self, profile: Profile | Telemetry) -> str:
        name = self._names.get(profile.task_id) or self._free_name(profile.task_id)
        execute = self._connection.execute
        sample_types, period_ns = (
            (profile.sample_types, profile.period_ns) if isinstance(profile, Profile) else ((), 0)
        )
        types = json.dumps([[each.name, each.unit] for each in sample_types])
        execute("INSERT OR IGNORE INTO tasks VALUES (NULL, ?, ?, ?)", (name, encodable(profile.profiler), types))
        task = execute("SELECT id FROM tasks WHERE name = ?", (name,)).fetchone()[0]
        row = (task, profile.start_ns, profile.end_ns, period_ns, json.dumps(dict(profile.attributes)))
        number = execute("INSERT INTO profiles VALUES (NULL, ?, ?, ?, ?, ?)", row).lastrowid
        self._insert_many("completeness", ((number, *entry) for entry in _ledger(profile.completeness)), 4)
        if isinstance(profile, Telemetry):
            self._insert_many("flows", [(number, pack(profile))], 2)
            talkers = {(flow.key.process, flow.key.name) for flow in profile.flows}
            self._insert_many("talkers", {(number, self._interner.process(*each)) for each in talkers}, 2)
        else:
            places = enumerate(profile.samples)
            self._insert_many("samples", ((number, *row) for place, s in places for row in self._rows(place, s)), 8)
        return name

    def _insert_many(self, table: str, rows: Iterable[tuple[object, ...]], columns: int) -> None:
        marks = ", ".join("?" * columns)
        self._connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)

    def _rows(self, place: int, sample: StackSample) -> list[tuple[int, ...]]:
        process = self._interner.process(sample.process, sample.name)
        user, kernel = self._interner.stack(sample.user), self._interner.stack(sample.kernel)
        labels = self._interner.labels(sample.labels)
        return [(place, kind, process, user, kernel, value, labels) for kind, value in enumerate(sample.values)]

    def _free_name(self, task_id: str) -> str:
        """A configured task has the same id in every run; each run is kept apart."""
        taken = {name for (name,) in self._connection.execute("SELECT name FROM tasks")}
        first = name = encodable(task_id)
        run = 2
        while name in taken:
            name, run = f"{first}~{run}", run + 1
        return name

    def _retain(self) -> None:
        with explained(self.path, "write to"):
            if self._retention_ns:
                self._drop(too_old(self._connection, self._retention_ns), "too old")
                self._remove(filekeeping.older_than(self._connection, self._retention_ns), "too old")
                self._told_dropped(exchanges.drop_older(self._connection, self._retention_ns), "too old")
            if self._too_large():
                filekeeping.forget_missing(self._connection, self.path.parent)
            while self._too_large() and self._drop_oldest():
                pass

    def _too_large(self) -> bool:
        used = size_in_use(self._connection) + filekeeping.total_size(self._connection)
        return 0 < self._max_size < used

    def _drop_oldest(self) -> bool:
        """Sampled exchanges, a file or some profiles, whichever are oldest; False if only the newest are left."""
        file, profiles = filekeeping.oldest(self._connection), oldest(self._connection)
        profiles_end = end_of(self._connection, profiles[0]) if profiles else _NEVER
        file_end = file.modified_ns if file else _NEVER
        sampled = exchanges.oldest_end(self._connection)
        if sampled is not None and sampled < min(file_end, profiles_end):
            self._told_dropped(exchanges.drop_oldest(self._connection), "store full")
            return True
        if file and file_end <= profiles_end:
            self._remove([file], "store full")
        else:
            self._drop(profiles, "store full")
        return bool(file or profiles)

    def _told_dropped(self, count: int, reason: str) -> None:
        if count:
            self._connection.executescript("PRAGMA incremental_vacuum")
            log.info("sampled exchanges dropped", reason=reason, exchanges=count, store=str(self.path))

    def _remove(self, files: list[filekeeping.KeptFile], reason: str) -> None:
        removed = filekeeping.remove(self._connection, self.path.parent, files)
        self.removed += removed
        if removed:
            log.info("files removed", reason=reason, files=removed, directory=str(self.path.parent))

    def _drop(self, profiles: list[int], reason: str) -> None:
        if profiles:
            self._transaction(partial(delete, self._connection, profiles))
            self._interner.forget()
            # It gives back one page a step, and of a statement without rows `execute` takes only the first step.
            self._connection.executescript("PRAGMA incremental_vacuum")
            self.dropped += len(profiles)
            log.info("profiles dropped", reason=reason, profiles=len(profiles), store=str(self.path))


def _ledger(completeness: Completeness) -> list[tuple[str, str, int]]:
    rows = [("expected", "", completeness.expected), ("kept", "", completeness.kept)]
    rows += [("lost", str(cause), count) for cause, count in completeness.lost.items()]
    return rows + [("degraded", str(cause), count) for cause, count in completeness.degraded.items()]
