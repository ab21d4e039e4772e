"""What the dynamic linker reads, PT_DYNAMIC (gABI, "Dynamic Section"): all that is left without section headers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rover_bpf.symbols.elf import Elf, to_offset
from rover_bpf.symbols.files import Read

_PT_DYNAMIC = 2
_HASH, _STRTAB, _SYMTAB, _RELA, _RELASZ, _STRSZ, _GNU_HASH = 4, 5, 6, 7, 8, 10, 0x6FFFFEF5
_MAX_ENTRIES = 1024
_MAX_BUCKETS = 1 << 22
_MAX_RELOCATIONS = 1 << 21
_LINKS_AT_ONCE = 1 << 12
_MAX_CHAIN = 1 << 22

Words = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, slots=True)
class DynamicSymbols:
    """Offsets in the file and sizes in bytes of the dynamic symbols and their names."""

    symbols: int
    symbols_size: int
    strings: int
    strings_size: int


def find_dynamic_symbols(read: Read, elf: Elf) -> DynamicSymbols | None:
    """None if the file has none, or has none that make sense."""
    tags = _tags(read, elf)
    symbols, strings = _place(elf, tags, _SYMTAB), _place(elf, tags, _STRTAB)
    if symbols is None or strings is None:
        return None
    return DynamicSymbols(symbols, _count(read, elf, tags) * elf.symbol.itemsize, strings, tags.get(_STRSZ, 0))


def relocations(read: Read, elf: Elf) -> tuple[Words, Words]:
    """(places, addends) of DT_RELA: what the file's pointers will be, which in a PIE may not be in the file."""
    tags = _tags(read, elf)
    begin, width = _place(elf, tags, _RELA), _word(elf).itemsize
    raw = b"" if begin is None else read(begin, min(tags.get(_RELASZ, 0), _MAX_RELOCATIONS * 3 * width))
    rows = np.frombuffer(raw, _word(elf), len(raw) // (3 * width) * 3).reshape(-1, 3)
    return rows[:, 0], rows[:, 2]


def _word(elf: Elf) -> np.dtype[Any]:
    return elf.sections.dtype["addr"]


def _tags(read: Read, elf: Elf) -> dict[int, int]:
    found = elf.programs[elf.programs["type"] == _PT_DYNAMIC]
    if not len(found):
        return {}
    width = _word(elf).itemsize
    raw = read(int(found[0]["offset"]), min(int(found[0]["filesz"]), _MAX_ENTRIES * 2 * width))
    entries = np.frombuffer(raw, _word(elf), len(raw) // (2 * width) * 2).reshape(-1, 2).tolist()
    return {tag: value for tag, value in reversed(entries) if tag}


def _place(elf: Elf, tags: dict[int, int], tag: int) -> int | None:
    return to_offset(elf.segments, tags[tag]) if tag in tags else None


def _count(read: Read, elf: Elf, tags: dict[int, int]) -> int:
    """There is no size of the table: both kinds of hash table tell how many symbols they reach."""
    if (hashes := _place(elf, tags, _HASH)) is not None:
        head = _u32(read, elf, hashes, 2)
        return int(head[1]) if len(head) == 2 else 0  # nchain: one for each symbol
    if (hashes := _place(elf, tags, _GNU_HASH)) is not None:
        return _count_gnu(read, elf, hashes)
    return 0


def _count_gnu(read: Read, elf: Elf, hashes: int) -> int:
    """The last chain's end: the symbols are sorted by bucket, and a chain ends with an odd hash."""
    head = _u32(read, elf, hashes, 4).tolist()
    if len(head) < 4:
        return 0
    buckets, first, bloom, _ = head
    begin = hashes + 16 + bloom * _word(elf).itemsize
    last = int(_u32(read, elf, begin, min(buckets, _MAX_BUCKETS)).max(initial=0))
    if last < first:
        return int(first)
    chains = begin + 4 * buckets
    for at in range(last, last + _MAX_CHAIN, _LINKS_AT_ONCE):
        links = _u32(read, elf, chains + 4 * (at - first), _LINKS_AT_ONCE)
        ends = np.flatnonzero(links & 1)
        if len(ends) or not len(links):
            return at + (int(ends[0]) + 1 if len(ends) else 0)
    return last


def _u32(read: Read, elf: Elf, offset: int, count: int) -> Words:
    raw = read(offset, 4 * count)
    return np.frombuffer(raw, f"{elf.order}u4", len(raw) // 4)
