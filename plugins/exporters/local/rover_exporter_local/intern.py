"""Numbers for what repeats: strings, frames, stacks and processes are stored once and named by their number."""

from __future__ import annotations

import json
import sqlite3
from array import array
from collections.abc import Iterable

from rover_core.model import Frame, Labels, ProcessKey
from rover_exporter_local.text import encodable

_REMEMBERED_FRAMES = 20_000  # about 5 MB; a look-up in the database costs some ten microseconds


def to_signed(number: int) -> int:
    """An unsigned number of 64 bits as SQLite can hold it."""
    return number - (1 << 64) if number >> 63 else number


def from_signed(number: int) -> int:
    return number & (1 << 64) - 1


class Interner:
    """Finds or makes the number of a thing, inside the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._frames: dict[Frame, int] = {}
        self._labels: dict[Labels, int] = {}

    def forget(self) -> None:
        """To be called when numbers may have become void: after a rollback, after rows were dropped."""
        self._frames.clear()
        self._labels.clear()

    def process(self, key: ProcessKey, name: str) -> int:
        row = (key.pid, key.start_ticks, encodable(name))
        return self._number("processes", ("pid", "start_ticks", "name"), row)

    def stack(self, frames: Iterable[Frame]) -> int:
        packed = array("I", map(self._frame, frames)).tobytes()
        return self._number("stacks", ("frames",), (packed,))

    def labels(self, labels: Labels) -> int:
        if labels not in self._labels:
            self._labels[labels] = self._number("labels", ("pairs",), (json.dumps(labels),))
        return self._labels[labels]

    def _frame(self, frame: Frame) -> int:
        known = self._frames.get(frame)
        if known is None:
            if len(self._frames) >= _REMEMBERED_FRAMES:
                self._frames.clear()
            names = (self._string(frame.symbol or ""), self._string(frame.module))
            row = (*names, to_signed(frame.offset), int(frame.kernel))
            known = self._frames[frame] = self._number("frames", ("symbol", "module", "offset", "kernel"), row)
        return known

    def _string(self, text: str) -> int:
        return self._number("strings", ("text",), (encodable(text),))

    def _number(self, table: str, columns: tuple[str, ...], row: tuple[object, ...]) -> int:
        # Table and column names are this module's own words, never data.
        condition = " AND ".join(f"{column} = ?" for column in columns)
        found = self._connection.execute(f"SELECT id FROM {table} WHERE {condition}", row).fetchone()
        if found:
            return int(found[0])
        marks = ", ".join("?" * len(row))
        made = self._connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", row)
        return int(made.lastrowid or 0)
