"""Sorted symbols in a few flat arrays: 16 bytes and a name each, found by one binary search."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rover_bpf.symbols.files import Read
from rover_bpf.symbols.packed import PackedNames

U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

_WINDOW = 1 << 18
_LONGEST = 1 << 16
_WORTH_PACKING = 1 << 17
# How many symbols to look back over for one that encloses the address: functions with other entry points inside.
_NESTING = 16


class TooLargeError(Exception):
    """The symbols would take more memory than they may."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Symbols as they were found, in any order, arrays of one length.

    sizes: bytes, 0 if unknown; rooms: bytes, the most that each may have; ranks: of several at one address the
    lowest wins; names: offsets of NUL-terminated names in some string table.
    """

    starts: U64
    sizes: U32
    rooms: U32
    ranks: NDArray[np.uint8]
    names: U32

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, which: I64 | Bools) -> "Candidates":
        columns = (self.starts, self.sizes, self.rooms, self.ranks, self.names)
        return Candidates(*(column[which] for column in columns))  # type: ignore[arg-type]

    def renamed(self, names: U32) -> "Candidates":
        return Candidates(self.starts, self.sizes, self.rooms, self.ranks, names)

    @classmethod
    def none(cls) -> "Candidates":
        u64, u32 = np.empty(0, np.uint64), np.empty(0, np.uint32)
        return cls(u64, u32, u32, np.empty(0, np.uint8), u32)

    @classmethod
    def concatenate(cls, parts: Sequence["Candidates"]) -> "Candidates":
        """One after the other; there must be at least one."""
        columns = ("starts", "sizes", "rooms", "ranks", "names")
        return cls(*(np.concatenate([getattr(part, column) for part in parts]) for column in columns))


@dataclass(frozen=True, slots=True, eq=False)
class SymbolTable:
    """starts: ascending; sizes: bytes; names: offsets into blob, where each name ends with a NUL.

    A table that may still grow has its names in a bytearray; one that is complete is better packed.
    """

    starts: U64
    sizes: U32
    names: U32
    blob: bytearray | PackedNames

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def nbytes(self) -> int:
        return self.starts.nbytes + self.sizes.nbytes + self.names.nbytes + len(self.blob)

    def find(self, address: int) -> tuple[str, int] | None:
        """Name and start of the innermost symbol that covers the address (0 .. 2**64 - 1)."""
        # A plain int would make numpy convert the whole array for each look-up: 39 µs instead of 1.
        after = int(self.starts.searchsorted(np.uint64(address), side="right"))
        for index in range(after - 1, max(after - 1 - _NESTING, -1), -1):
            start = int(self.starts[index])
            if address - start < self.sizes[index]:
                return self._name(int(self.names[index])), start
        return None

    def _name(self, offset: int) -> str:
        blob = self.blob
        name = blob.name(offset) if isinstance(blob, PackedNames) else blob[offset : blob.index(b"\0", offset)]
        return name.decode(errors="replace")

    def packed(self) -> "SymbolTable":
        """The same table with its names compressed, if that is worth it."""
        if isinstance(self.blob, PackedNames) or len(self.blob) < _WORTH_PACKING:
            return self
        return SymbolTable(self.starts, self.sizes, self.names, PackedNames(self.blob))


EMPTY = SymbolTable(np.empty(0, np.uint64), np.empty(0, np.uint32), np.empty(0, np.uint32), bytearray())


def build(found: Candidates, blob: bytearray) -> SymbolTable:
    """Sort, keep the best name of each address, and give those of unknown size the room up to the next."""
    found = found.take(np.lexsort((_underscores(found.names, blob), ~found.sizes, found.ranks, found.starts)))
    found = found.take(np.diff(found.starts, prepend=np.uint64(0)).astype(bool) | (np.arange(len(found)) == 0))
    found = found.take(~_inner_labels(found))
    rooms = np.minimum(found.rooms, np.diff(found.starts, append=np.uint64(2**64 - 1)))
    sizes = np.where(found.sizes > 0, found.sizes, rooms).astype(np.uint32)
    return SymbolTable(found.starts, sizes, found.names, blob)


def _inner_labels(found: Candidates) -> Bools:
    """Which have no size and lie inside one that has: labels in hand-written assembly, not functions."""
    if not len(found):
        return np.empty(0, bool)
    ends = np.where(found.sizes > 0, found.starts + found.sizes, 0).astype(np.uint64)
    covered_to = np.concatenate((np.zeros(1, np.uint64), np.maximum.accumulate(ends)[:-1]))
    inner: Bools = (found.sizes == 0) & (covered_to > found.starts)
    return inner


def _underscores(names: U32, blob: bytearray) -> NDArray[np.uint8]:
    """0, 1 or 2 leading underscores: of two equal names, `malloc` says more than `__libc_malloc`."""
    text = np.frombuffer(blob, np.uint8)
    first = (text[names] == ord("_")).astype(np.uint8)
    both: NDArray[np.uint8] = first + (first & (text.take(names + np.uint32(1), mode="clip") == ord("_")))
    return both


def gather_names(read: Read, size: int, names: U32, blob: bytearray, limit: int) -> U32:
    """Append just the named parts of a string table of `size` bytes to the blob; returns where they are there.

    Goes through it in windows, so that a string table of any size costs no more memory than what is kept of it.
    Raises TooLargeError when the blob exceeds `limit` bytes. A name that the file does not hold becomes empty.
    """
    order = np.argsort(names)
    ascending = names[order].astype(np.int64)
    moved = np.zeros(len(names), np.int64)
    for base in range(0, size, _WINDOW):
        low, high = np.searchsorted(ascending, (base, base + _WINDOW))
        if low < high:
            window = read(base, min(_WINDOW + _LONGEST, size - base)) + b"\0"
            moved[order[low:high]] = _append(blob, window, ascending[low:high] - base)
        if len(blob) > limit:
            raise TooLargeError(f"the names alone take more than {limit} bytes")
    return moved.astype(np.uint32)


def _append(blob: bytearray, window: bytes, begins: I64) -> I64:
    """Append the names that begin there (ascending; they may share their ends) and return where they went."""
    nuls = np.flatnonzero(np.frombuffer(window, np.uint8) == 0)
    begins = np.minimum(begins, len(window) - 1)
    reach = np.maximum.accumulate(nuls[np.searchsorted(nuls, begins)] + 1)
    before = np.concatenate((np.zeros(1, np.int64), reach[:-1]))
    gaps = np.maximum(begins - before, 0)
    where: I64 = len(blob) + begins - np.cumsum(gaps)
    firsts = np.flatnonzero((gaps > 0) | (np.arange(len(begins)) == 0))
    lasts = np.append(firsts[1:], len(begins)) - 1
    blob += b"".join(window[a:b] for a, b in zip(begins[firsts].tolist(), reach[lasts].tolist(), strict=True))
    return where
