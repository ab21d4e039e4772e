"""Where the entry of a function is: the linker's sorted table in .eh_frame_hdr, or one made of all entries."""

from array import array
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rover_bpf.symbols.elf import Elf, named_sections, to_offset
from rover_bpf.symbols.files import Read
from rover_bpf.unwind.cursor import CfiError, Cursor
from rover_bpf.unwind.entries import Cie, Entry, parse_cie, parse_fde, read_entry

_PT_GNU_EH_FRAME = 0x6474E550
_DATAREL_SDATA4 = 0x3B
_HEADER = 64
_PAIR = np.dtype([("start", "<i4"), ("fde", "<i4")])
# Without a table each entry is read: 3 µs each, so 0.4 s at most. Binaries that large have the table.
_MAX_SCANNED = 1 << 17
_MAX_SCANNED_BYTES = 64 << 20
_CHUNK = 1 << 20

I32 = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """starts: first addresses of functions, ascending; fdes: their entries' addresses; both relative to base.

    frames: address of .eh_frame.
    """

    base: int
    frames: int
    starts: I32
    fdes: I32

    @property
    def nbytes(self) -> int:
        return self.starts.nbytes + self.fdes.nbytes

    def find(self, vaddr: int) -> int | None:
        """Address of the entry of the last function that begins at or before this address."""
        relative = vaddr - self.base
        if not -(1 << 31) <= relative < 1 << 31:
            return None
        # As in symbols: a plain int would make numpy convert the whole array.
        found = int(self.starts.searchsorted(np.int32(relative), side="right")) - 1
        return self.base + int(self.fdes[found]) if found >= 0 else None


def read_index(read: Read, elf: Elf, limit: int) -> Index:
    """The index of a file, at most `limit` bytes. Raises CfiError with the reason why there is none."""
    header = next((p for p in elf.programs if p["type"] == _PT_GNU_EH_FRAME), None)
    if header is None:
        section = next((section for name, section in named_sections(read, elf) if name == b".eh_frame"), None)
        if section is None:
            raise CfiError("it has no .eh_frame")
        return _scanned(read, int(section["offset"]), int(section["addr"]), int(section["size"]), limit)
    return _of_header(read, elf, int(header["offset"]), int(header["vaddr"]), limit)


def _of_header(read: Read, elf: Elf, offset: int, base: int, limit: int) -> Index:
    """By .eh_frame_hdr (LSB Core 10.6.2)."""
    cursor = Cursor(read(offset, _HEADER), base)
    version, where, counted, encoding = (cursor.u8() for _ in range(4))
    if version != 1:
        raise CfiError(f"version {version} of .eh_frame_hdr")
    frames = cursor.pointer(where, base)
    if encoding == _DATAREL_SDATA4:
        count = cursor.pointer(counted, base)
        pairs = _pairs(read, offset + cursor.at, count, limit)
        return _sorted(base, frames, np.ascontiguousarray(pairs["start"]), np.ascontiguousarray(pairs["fde"]))
    begin = to_offset(elf.segments, frames)
    if begin is None:
        raise CfiError("its .eh_frame is not in the file")
    return _scanned(read, begin, frames, 1 << 32, limit)


def _pairs(read: Read, offset: int, count: int, limit: int) -> NDArray[np.void]:
    if not 0 < count * _PAIR.itemsize <= limit:
        raise CfiError(f"its table of {count} functions takes more than {limit} bytes" if count else "an empty table")
    raw = read(offset, count * _PAIR.itemsize)
    return np.frombuffer(raw, _PAIR, len(raw) // _PAIR.itemsize)


def _sorted(base: int, frames: int, starts: I32, fdes: I32) -> Index:
    if (starts[1:] < starts[:-1]).any():
        order = np.argsort(starts, kind="stable")
        starts, fdes = starts[order], fdes[order]
    return Index(base, frames, starts, fdes)


def _scanned(read: Read, offset: int, base: int, size: int, limit: int) -> Index:
    """By reading entry after entry. What comes after one that makes no sense is not found."""
    starts, fdes = array("i"), array("i")
    cies: dict[int, Cie] = {}
    window = _Window(read)
    at, end = 0, min(size, _MAX_SCANNED_BYTES)
    with suppress(CfiError):
        for _ in range(min(_MAX_SCANNED, limit // _PAIR.itemsize)):
            entry = read_entry(window.read, offset + at, base + at) if at < end else None
            if entry is None:
                break
            start = _start(entry, base + at, cies)
            if start is not None and -(1 << 31) <= start - base < 1 << 31:
                starts.append(start - base)
                fdes.append(at)
            at += entry.size
    if not starts:
        raise CfiError("its .eh_frame is empty")
    return _sorted(base, base, np.frombuffer(starts, np.int32), np.frombuffer(fdes, np.int32))


def _start(entry: Entry, vaddr: int, cies: dict[int, Cie]) -> int | None:
    """The first address of an FDE's function; None for a CIE, which is remembered. Raises CfiError."""
    begin = entry.cursor.at
    owner = entry.cie_at()
    if owner is not None:
        return parse_fde(entry, cies[owner]).start if owner in cies else None
    entry.cursor.at = begin
    cies[vaddr] = parse_cie(entry)
    return None


class _Window:
    """Reads that go forward through a file, a megabyte at a time."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._begin = 0
        self._bytes = b""

    def read(self, offset: int, size: int) -> bytes:
        into = offset - self._begin
        if not 0 <= into <= len(self._bytes) - size:
            self._begin, into = offset, 0
            self._bytes = self._read(offset, max(_CHUNK, size))
        return self._bytes[into : into + size]
