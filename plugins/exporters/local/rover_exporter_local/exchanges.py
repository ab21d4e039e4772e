"""Sampled exchanges in the store: one row each, a compressed JSON record (`rover_core.flows.sample_record`)."""

from __future__ import annotations

import json
import sqlite3
import time
import zlib
from collections.abc import Iterable
from typing import Any

from rover_core.flows import sample_record
from rover_core.model import Telemetry
from rover_exporter_local.text import encodable

_COLUMNS = "id, task, record"


def insert(connection: sqlite3.Connection, telemetry: Telemetry) -> None:
    """Inside the caller's transaction."""
    connection.executemany(
        "INSERT INTO exchanges (task, trace, end_ns, record) VALUES (?, ?, ?, ?)",
        [_row(telemetry.task_id, sample_record(sample), sample.exchange.end_ns) for sample in telemetry.samples],
    )


def _row(task: str, record: dict[str, Any], end_ns: int) -> tuple[str, str, int, bytes]:
    trace = record["trace"]["trace_id"] if record["trace"] else ""
    return encodable(task), encodable(trace), end_ns, zlib.compress(json.dumps(record).encode())


def read_latest(connection: sqlite3.Connection, limit: int, task: str | None) -> list[dict[str, Any]]:
    """The last `limit`, the oldest of them first, with their `id` and `task`. task: those of this one alone."""
    if not _there(connection):
        return []
    where, values = ("", ()) if task is None else ("WHERE task = ?", (encodable(task),))
    query = f"SELECT {_COLUMNS} FROM exchanges {where} ORDER BY end_ns DESC, id DESC LIMIT ?"
    return _records(connection.execute(query, (*values, limit)))[::-1]


def count(connection: sqlite3.Connection, task: str) -> int:
    """How many there are of a task."""
    if not _there(connection):
        return 0
    found = connection.execute("SELECT count(*) FROM exchanges WHERE task = ?", (encodable(task),)).fetchone()[0]
    return int(found)


def read_named(connection: sqlite3.Connection, name: str) -> list[dict[str, Any]]:
    """The one of that id, or those of that trace, the oldest first."""
    if not _there(connection):
        return []
    number = int(name) if name.isascii() and name.isdecimal() and len(name) <= 18 else None
    where = "WHERE id = ? OR (trace = ? AND trace <> '') ORDER BY end_ns, id"
    return _records(connection.execute(f"SELECT {_COLUMNS} FROM exchanges {where}", (number, encodable(name))))


def _records(rows: Iterable[tuple[int, str, bytes]]) -> list[dict[str, Any]]:
    return [{"id": number, "task": task, **json.loads(zlib.decompress(packed))} for number, task, packed in rows]


def _there(connection: sqlite3.Connection) -> bool:
    """A store that was written before there were any, and never since, has no table of them."""
    query = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'exchanges'"
    return bool(connection.execute(query).fetchone()[0])


def oldest_end(connection: sqlite3.Connection) -> int | None:
    """When the first of them ended, in nanoseconds of the Unix epoch; None if there are none."""
    found = connection.execute("SELECT min(end_ns) FROM exchanges").fetchone()[0]
    return None if found is None else int(found)


def drop_older(connection: sqlite3.Connection, retention_ns: int) -> int:
    """Drop what ended longer ago than that; how many that were."""
    return _dropped(connection, "end_ns < ?", time.time_ns() - retention_ns)


def drop_oldest(connection: sqlite3.Connection) -> int:
    """Drop an eighth of them; how many that were."""
    count = connection.execute("SELECT count(*) FROM exchanges").fetchone()[0]
    first = "id IN (SELECT id FROM exchanges ORDER BY end_ns, id LIMIT ?)"
    return _dropped(connection, first, max(1, count // 8))


def _dropped(connection: sqlite3.Connection, where: str, value: int) -> int:
    return connection.execute(f"DELETE FROM exchanges WHERE {where}", (value,)).rowcount
