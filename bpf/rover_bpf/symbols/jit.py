"""Merging newly compiled code into a table: later code owns the memory of earlier code."""

from dataclasses import dataclass, field
from heapq import heappop, heappush

import numpy as np

from rover_bpf.symbols.files import reader_of
from rover_bpf.symbols.table import U64, Bools, SymbolTable, gather_names


@dataclass(slots=True)
class Compiled:
    """Pieces of code in the order they were compiled. Sizes are in bytes, above 0; names as in a SymbolTable."""

    starts: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    names: list[int] = field(default_factory=list)
    blob: bytearray = field(default_factory=bytearray)

    def add(self, start: int, size: int, name: bytes) -> None:
        self.starts.append(start)
        self.sizes.append(size)
        self.names.append(len(self.blob))
        self.blob += name + b"\0"


def merge(known: SymbolTable, new: Compiled) -> SymbolTable:
    """Both in one table, without what begins inside something later: that code is gone.

    What merely reaches into something later stays, for the part before it. The known table's blob is grown in place
    (it may be megabytes): use the result instead of it.
    """
    starts = np.array(new.starts, np.uint64)
    sizes = np.array(new.sizes, np.uint32)
    stays = ~_covered(known.starts.astype(np.uint64), starts, starts + sizes)
    valid = _latest(new.starts, new.sizes)
    assert isinstance(known.blob, bytearray)  # a table that grows is never packed
    blob = known.blob or bytearray()
    names = np.array(new.names, np.uint32) + np.uint32(len(blob))
    blob += new.blob
    starts = np.concatenate((known.starts[stays].astype(np.uint64), starts[valid]))
    order = np.argsort(starts)
    sizes = np.concatenate((known.sizes[stays], sizes[valid]))[order]
    names = np.concatenate((known.names[stays], names[valid]))[order]
    return SymbolTable(starts[order], sizes, names, blob)


def compact(table: SymbolTable) -> SymbolTable:
    """The same without the names of code that is gone."""
    assert isinstance(table.blob, bytearray)
    blob = bytearray()

    def put(names: bytes) -> int:
        blob.extend(names)
        return len(blob) - len(names)

    names, _ = gather_names(reader_of(table.blob), len(table.blob), table.names, put)
    return SymbolTable(table.starts, table.sizes, names, blob)


def _covered(points: U64, starts: U64, ends: U64) -> Bools:
    """Which points lie in any of the intervals [start, end)."""
    order = np.argsort(starts)
    reach = np.concatenate((np.zeros(1, np.uint64), np.maximum.accumulate(ends[order])))
    covered: Bools = reach[starts[order].searchsorted(points, side="right")] > points
    return covered


def _latest(starts: list[int], sizes: list[int]) -> Bools:
    """Which do not begin inside a later one: one sweep by address, with the intervals open there in a heap."""
    latest = np.ones(len(starts), bool)
    active: list[tuple[int, int]] = []
    for index in sorted(range(len(starts)), key=lambda i: (starts[i], -i)):
        while active and active[0][1] <= starts[index]:
            heappop(active)
        latest[index] = not active or -active[0][0] < index
        heappush(active, (-index, starts[index] + sizes[index]))
    return latest
