"""Go's table of functions, which strip leaves in place: the runtime prints its tracebacks with it.

Its layouts are those of Go's own src/debug/gosym/pclntab.go: since Go 1.2, 1.16, 1.18 and 1.20.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from rover_bpf.symbols.files import Read
from rover_bpf.symbols.table import I64, U32, U64

MAGICS = {0xFFFFFFFB: 2, 0xFFFFFFFA: 16, 0xFFFFFFF0: 18, 0xFFFFFFF1: 20}
"""The table's first word to the Go 1.x that began with it."""

_WINDOW = 1 << 20
_MAX_BYTES = 512 << 20


class GoError(Exception):
    """Not such a table, or one that makes no sense; the text says which."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Of one table. count: functions; text: address of the code that entries count from, 0 if the table does not
    say; names, entries, records: offsets of the names, of the sorted (code, record) pairs, and of what the pairs'
    second halves count from; pair: type of each half; name_at: offset of a record's 32-bit offset of its name; steps:
    offset of what records say of each instruction, 0 where that is not read (before Go 1.18); flag_at: offset of a
    record's flags.
    """

    count: int
    text: int
    relative: bool
    names: int
    entries: int
    records: int
    pair: np.dtype[Any]
    name_at: int
    steps: int = 0
    flag_at: int = 0


def read_layout(read: Read, order: str) -> Layout:
    """The header. Raises GoError. order: `<` or `>`, as in numpy."""
    head = read(0, 8)
    magic = int(np.frombuffer(head, f"{order}u4", 1)[0]) if len(head) == 8 else 0
    if magic not in MAGICS or head[4:6] != b"\0\0" or head[6] not in (1, 2, 4) or head[7] not in (4, 8):
        raise GoError("no table of Go's functions")
    word = np.dtype(f"{order}u{head[7]}")
    raw = read(8, 8 * word.itemsize)
    if len(raw) < 8 * word.itemsize:
        raise GoError("the table of Go's functions is cut off")
    return _layout(MAGICS[magic], np.frombuffer(raw, word).tolist(), word, np.dtype(f"{order}u4"))


def _layout(since: int, fields: list[int], word: np.dtype[Any], half: np.dtype[Any]) -> Layout:
    if since == 2:
        return Layout(fields[0], 0, False, 0, 8 + word.itemsize, 0, word, word.itemsize)
    if since == 16:
        return Layout(fields[0], 0, False, fields[2], fields[6], fields[6], word, word.itemsize)
    flag_at = 41 if since == 20 else 37  # behind startLine, which came with 1.20
    return Layout(fields[0], fields[2], True, fields[3], fields[7], fields[7], half, 4, fields[6], flag_at)


def read_functions(read: Read, layout: Layout, text: int) -> tuple[U64, U64, U32]:
    """(starts, ends, offsets of names) of all functions. Raises GoError. text: where relative entries begin."""
    code, records = read_entries(read, layout, text)
    places = records.astype(np.int64) + layout.records + layout.name_at
    return code[:-1], code[1:], _words_at(read, places, layout.pair.byteorder)


def read_entries(read: Read, layout: Layout, text: int) -> tuple[U64, U64]:
    """(starts of all functions and the end of the last, offsets of their records). As read_functions."""
    width = layout.pair.itemsize
    raw = read(layout.entries, (2 * layout.count + 1) * width)
    if not layout.count or len(raw) < (2 * layout.count + 1) * width:
        raise GoError("the table of Go's functions is cut off")
    numbers = np.frombuffer(raw, layout.pair).astype(np.uint64)
    code = numbers[0::2] + np.uint64(text if layout.relative else 0)
    records = numbers[1::2]
    if np.any(code[1:] < code[:-1]) or np.any(records >= _MAX_BYTES) or layout.records >= _MAX_BYTES:
        raise GoError("the table of Go's functions is not in order")
    return code, records


def _words_at(read: Read, places: I64, order: str) -> U32:
    """The 32-bit numbers at these offsets (below 2 * _MAX_BYTES), read in windows; 0 beyond the end."""
    found = np.zeros(len(places), np.uint32)
    ranking = np.argsort(places)
    for begin, low, high in _windows(places[ranking]):
        window = np.frombuffer(read(begin, _WINDOW).ljust(_WINDOW, b"\0"), np.uint8)
        into = places[ranking[low:high]] - begin
        octets = np.stack([window[into + n] for n in range(4)], axis=1)
        found[ranking[low:high]] = octets.view(f"{'>' if order == '>' else '<'}u4")[:, 0]
    return found


def _windows(ascending: I64) -> Iterator[tuple[int, int, int]]:
    """(begin, low, high): ascending[low:high] lie whole in the window that begins there."""
    low = 0
    while low < len(ascending):
        begin = int(ascending[low])
        high = int(ascending.searchsorted(begin + _WINDOW - 4, side="right"))
        yield begin, low, high
        low = high
