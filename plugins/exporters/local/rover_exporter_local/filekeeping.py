"""Files that Rover wrote beside its store: remembered, so that they go when they are old, and nobody else's do."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class KeptFile(NamedTuple):
    """One row of `files`. name: within the store's directory, which may be moved; size in bytes."""

    name: str
    size: int
    modified_ns: int


def remember(connection: sqlite3.Connection, file: KeptFile) -> None:
    connection.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", file)


def total_size(connection: sqlite3.Connection) -> int:
    """Bytes of all files."""
    return int(connection.execute("SELECT coalesce(sum(size), 0) FROM files").fetchone()[0])


def older_than(connection: sqlite3.Connection, age_ns: int) -> list[KeptFile]:
    rows = connection.execute(
        "SELECT name, size, modified_ns FROM files WHERE modified_ns < ?", (time.time_ns() - age_ns,)
    )
    return [KeptFile(*row) for row in rows]


def oldest(connection: sqlite3.Connection) -> KeptFile | None:
    """The next to go when there is too much; the newest always stays, as the newest profile does."""
    rows = connection.execute(
        "SELECT name, size, modified_ns FROM files ORDER BY modified_ns, name LIMIT 2"
    ).fetchall()
    return KeptFile(*rows[0]) if len(rows) > 1 else None


def forget_missing(connection: sqlite3.Connection, directory: Path) -> None:
    """Forget what somebody else removed: it takes no room."""
    rows = connection.execute("SELECT name FROM files").fetchall()
    missing = [row for row in rows if not (directory / row[0]).exists()]
    connection.executemany("DELETE FROM files WHERE name = ?", missing)


def remove(connection: sqlite3.Connection, directory: Path, files: Iterable[KeptFile]) -> int:
    """Remove and forget them; how many were removed. One that was changed since is somebody's work and stays."""
    removed = 0
    for file in files:
        removed += _unlink_unchanged(directory / file.name, file)
        connection.execute("DELETE FROM files WHERE name = ?", (file.name,))
    return removed


def _unlink_unchanged(path: Path, file: KeptFile) -> bool:
    try:
        stat = os.lstat(path)
        if (stat.st_size, stat.st_mtime_ns) != (file.size, file.modified_ns):
            return False
        path.unlink()
    except OSError:  # gone, or in a directory that has become read-only: the store's own failure will tell
        return False
    return True
