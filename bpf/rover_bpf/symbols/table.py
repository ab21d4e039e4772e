"""Sorted symbols in a few flat arrays: 12 bytes and a name each, found by one binary search."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rover_bpf.symbols.files import Read
from rover_bpf.symbols.packed import PackedNames

U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]
U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

_WINDOW = 1 << 18
_LONGEST = 1 << 16
# How many symbols to look back over for one that encloses the address: functions with other entry points inside.
_NESTING = 16


class TooLargeError(Exception):
    """The symbols would take more memory than they may."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Symbols as they were found, in any order, arrays of one length.

    sizes: bytes, 0 if unknown; rooms: bytes, the most that each may have; ranks: of several at one address the
    lowest wins; names: offsets of NUL-terminated names in some string table; underscores: how many of them (0 to 2)
    the name begins with: of two equal names, `malloc` says more than `__libc_malloc`.
    """

    starts: U64
    sizes: U32
    rooms: U32
    ranks: U8
    names: U32
    underscores: U8

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, which: I64 | Bools) -> "Candidates":
        columns = (self.starts, self.sizes, self.rooms, self.ranks, self.names, self.underscores)
        return Candidates(*(column[which] for column in columns))  # type: ignore[arg-type]

    @classmethod
    def none(cls) -> "Candidates":
        u64, u32, u8 = np.empty(0, np.uint64), np.empty(0, np.uint32), np.empty(0, np.uint8)
        return cls(u64, u32, u32, u8, u32, u8)

    @classmethod
    def concatenate(cls, parts: Sequence["Candidates"]) -> "Candidates":
        """One after the other; there must be at least one."""
        columns = ("starts", "sizes", "rooms", "ranks", "names", "underscores")
        return cls(*(np.concatenate([getattr(part, column) for part in parts]) for column in columns))


@dataclass(frozen=True, slots=True, eq=False)
class SymbolTable:
    """starts: ascending, less `base`; sizes: bytes; names: offsets into blob, where each name ends with a NUL.

    A table that may still grow has its names in a bytearray; one that is complete has them packed.
    """

    starts: U64 | U32
    sizes: U32
    names: U32
    blob: bytearray | PackedNames
    base: int = 0

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def nbytes(self) -> int:
        return self.starts.nbytes + self.sizes.nbytes + self.names.nbytes + len(self.blob)

    def find(self, address: int) -> tuple[str, int] | None:
        """Name and start of the innermost symbol that covers the address (0 .. 2**64 - 1)."""
        # A plain int would make numpy convert the whole array for each look-up: 39 µs instead of 1.
        wanted = min(max(address - self.base, 0), np.iinfo(self.starts.dtype).max)
        after = int(self.starts.searchsorted(self.starts.dtype.type(wanted), side="right"))
        for index in range(after - 1, max(after - 1 - _NESTING, -1), -1):
            start = int(self.starts[index]) + self.base
            if 0 <= address - start < self.sizes[index]:
                return self._name(int(self.names[index])), start
        return None

    def _name(self, offset: int) -> str:
        blob = self.blob
        name = blob.name(offset) if isinstance(blob, PackedNames) else blob[offset : blob.index(b"\0", offset)]
        return name.decode(errors="replace")


EMPTY = SymbolTable(np.empty(0, np.uint64), np.empty(0, np.uint32), np.empty(0, np.uint32), bytearray())


def build(found: Candidates, names: PackedNames) -> SymbolTable:
    """Sort, keep the best name of each address, and give those of unknown size the room up to the next."""
    found = found.take(np.lexsort((found.underscores, ~found.sizes, found.ranks, found.starts)))
    found = found.take(np.diff(found.starts, prepend=np.uint64(0)).astype(bool) | (np.arange(len(found)) == 0))
    found = found.take(~_inner_labels(found))
    rooms = np.minimum(found.rooms, np.diff(found.starts, append=np.uint64(2**64 - 1)))
    sizes = np.where(found.sizes > 0, found.sizes, rooms).astype(np.uint32)
    base = int(found.starts[0]) if len(found) else 0
    starts = found.starts - np.uint64(base)
    near = not len(found) or int(starts[-1]) < 1 << 32
    return SymbolTable(starts.astype(np.uint32) if near else starts, sizes, found.names, names, base)


def _inner_labels(found: Candidates) -> Bools:
    """Which have no size and lie inside one that has: labels in hand-written assembly, not functions."""
    if not len(found):
        return np.empty(0, bool)
    ends = np.where(found.sizes > 0, found.starts + found.sizes, 0).astype(np.uint64)
    covered_to = np.concatenate((np.zeros(1, np.uint64), np.maximum.accumulate(ends)[:-1]))
    inner: Bools = (found.sizes == 0) & (covered_to > found.starts)
    return inner


def underscores(text: U8, names: I64 | U32) -> U8:
    """How many underscores, at most 2, are there at these offsets of the text."""
    first = (text[names] == ord("_")).astype(np.uint8)
    both: U8 = first + (first & (text.take(names.astype(np.int64) + 1, mode="clip") == ord("_")))
    return both


def gather_names(read: Read, size: int, names: U32, put: Callable[[bytes], int]) -> tuple[U32, U8]:
    """Put just the named parts of a string table of `size` bytes elsewhere; returns where, and their underscores.

    Goes through it in windows, so that a string table of any size costs no more memory than what is kept of it.
    put: takes the next part and returns where it went. A name that the file does not hold becomes empty.
    """
    order = np.argsort(names)
    ascending = names[order].astype(np.int64)
    moved, marks = np.zeros(len(names), np.int64), np.zeros(len(names), np.uint8)
    for base in range(0, size, _WINDOW):
        low, high = np.searchsorted(ascending, (base, base + _WINDOW))
        if low < high:
            window = read(base, min(_WINDOW + _LONGEST, size - base)) + b"\0"
            begins = np.minimum(ascending[low:high] - base, len(window) - 1)
            marks[order[low:high]] = underscores(np.frombuffer(window, np.uint8), begins)
            moved[order[low:high]] = _put(put, window, begins)
    return moved.astype(np.uint32), marks


def _put(put: Callable[[bytes], int], window: bytes, begins: I64) -> I64:
    """Put the names that begin there (ascending; they may share their ends) elsewhere and return where they went."""
    nuls = np.flatnonzero(np.frombuffer(window, np.uint8) == 0)
    reach = np.maximum.accumulate(nuls[np.searchsorted(nuls, begins)] + 1)
    before = np.concatenate((np.zeros(1, np.int64), reach[:-1]))
    gaps = np.maximum(begins - before, 0)
    firsts = np.flatnonzero((gaps > 0) | (np.arange(len(begins)) == 0))
    lasts = np.append(firsts[1:], len(begins)) - 1
    parts = zip(begins[firsts].tolist(), reach[lasts].tolist(), strict=True)
    where: I64 = put(b"".join(window[a:b] for a, b in parts)) + begins - np.cumsum(gaps)
    return where
