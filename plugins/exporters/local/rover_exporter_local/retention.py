"""Dropping profiles, and what only they used, so that a store stays within its bounds."""

from __future__ import annotations

import sqlite3
import time
from array import array

_UNUSED = (
    "DELETE FROM tasks WHERE id NOT IN (SELECT task FROM profiles)",
    "DELETE FROM processes WHERE id NOT IN (SELECT process FROM samples UNION SELECT process FROM talkers)",
    "DELETE FROM labels WHERE id AND id NOT IN (SELECT labels FROM samples)",
    "DELETE FROM stacks WHERE id NOT IN (SELECT user FROM samples UNION SELECT kernel FROM samples)",
)
_UNUSED_STRINGS = "DELETE FROM strings WHERE id NOT IN (SELECT symbol FROM frames UNION SELECT module FROM frames)"


def size_in_use(connection: sqlite3.Connection) -> int:
    """Bytes of the database without its free pages."""
    pages, free, page = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * page


def too_old(connection: sqlite3.Connection, retention_ns: int) -> list[int]:
    """The profiles that ended longer ago than that."""
    rows = connection.execute("SELECT id FROM profiles WHERE end_ns < ?", (time.time_ns() - retention_ns,))
    return [number for (number,) in rows]


def oldest(connection: sqlite3.Connection) -> list[int]:
    """The next to go when there is too much: an eighth, as finding out what is unused costs the same for one.

    The newest profile always stays: whoever just measured something that large wants to see it.
    """
    count = connection.execute("SELECT count(*) FROM profiles").fetchone()[0]
    limit = min(max(1, count // 8), count - 1)
    rows = connection.execute("SELECT id FROM profiles ORDER BY end_ns, id LIMIT ?", (max(0, limit),))
    return [number for (number,) in rows]


def end_of(connection: sqlite3.Connection, profile: int) -> int:
    """When it ended, in nanoseconds of the Unix epoch."""
    return int(connection.execute("SELECT end_ns FROM profiles WHERE id = ?", (profile,)).fetchone()[0])


def delete(connection: sqlite3.Connection, profiles: list[int]) -> None:
    """Inside the caller's transaction; their samples and completeness go with them."""
    connection.executemany("DELETE FROM profiles WHERE id = ?", [(number,) for number in profiles])
    for statement in _UNUSED:
        connection.execute(statement)
    used: set[int] = set()
    for (packed,) in connection.execute("SELECT frames FROM stacks"):
        used.update(array("I", packed))
    unused = [row for row in connection.execute("SELECT id FROM frames") if row[0] not in used]
    connection.executemany("DELETE FROM frames WHERE id = ?", unused)
    connection.execute(_UNUSED_STRINGS)
