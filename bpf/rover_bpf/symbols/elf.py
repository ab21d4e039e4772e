"""The headers of an ELF file (System V gABI, chapters 4 and 5): segments, sections, build id.

The tables of headers are read as numpy arrays, whatever the class and byte order. That bounds time and memory by two
constants, which a reader that walks a stranger's file header by header does not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rover_bpf.symbols.files import Read

SHT_SYMTAB, SHT_DYNSYM = 2, 11
SHF_EXECINSTR = 4
_PT_LOAD, _PT_NOTE, _PF_X = 1, 4, 1
_SHT_NOTE = 7
_NT_GNU_BUILD_ID = 3
_PAGE = 4096
_MAX_SEGMENTS = 256
_MAX_SECTIONS = 16384
_MAX_NOTES = 1 << 16
_MAX_NOTE_PLACES = 8
_MAX_BUILD_ID = 64
_MAX_NAMES = 1 << 20

# A field's name and width; `a` is as wide as an address of the class.
_EHDR = (
    "type:2 machine:2 version:4 entry:a phoff:a shoff:a flags:4 "
    "ehsize:2 phentsize:2 phnum:2 shentsize:2 shnum:2 shstrndx:2"
)
_PHDR = {
    1: "type:4 offset:4 vaddr:4 paddr:4 filesz:4 memsz:4 flags:4 align:4",
    2: "type:4 flags:4 offset:8 vaddr:8 paddr:8 filesz:8 memsz:8 align:8",
}
_SHDR = "name:4 type:4 flags:a addr:a offset:a size:a link:4 info:4 addralign:a entsize:a"
_SYM = {
    1: "name:4 value:4 size:4 info:1 other:1 shndx:2",
    2: "name:4 info:1 other:1 shndx:2 value:8 size:8",
}

Records = NDArray[np.void]


class ElfError(Exception):
    """Not an ELF file, or one whose headers make no sense; the text says which."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A PT_LOAD: file bytes [offset, offset + size) appear at `vaddr`."""

    offset: int
    size: int
    vaddr: int
    executable: bool


@dataclass(frozen=True, slots=True, eq=False)
class Elf:
    """segments: executable ones first; programs, sections: header records (gABI field names); symbol: layout of a
    symbol; machine: e_machine; names: index of the section that has the sections' names; order: `<` or `>`.
    """

    segments: tuple[Segment, ...]
    sections: Records
    symbol: np.dtype[np.void]
    build_id: str
    programs: Records
    machine: int
    names: int
    order: str


def to_vaddr(segments: tuple[Segment, ...], offset: int) -> int:
    """Where the file's own addresses put this file offset; the offset itself if no segment shows it.

    Through the segments, not through one difference for the whole file: with lld and with -z separate-code each
    segment has its own, and ET_EXEC, ET_DYN and files mapped in many pieces need no case of their own.
    """
    for segment in segments:
        # Whole pages are mapped: a mapping begins where the page of the segment's first byte does.
        if segment.offset & -_PAGE <= offset < segment.offset + segment.size:
            return max(offset - segment.offset + segment.vaddr, 0)
    return offset


def to_offset(segments: tuple[Segment, ...], vaddr: int) -> int | None:
    """Where in the file the byte at this address of its own is; None if no segment shows it."""
    for segment in segments:
        if segment.vaddr <= vaddr < segment.vaddr + segment.size:
            return vaddr - segment.vaddr + segment.offset
    return None


def named_sections(read: Read, elf: Elf) -> Iterator[tuple[bytes, np.void]]:
    """Each section's name (at most 64 bytes of it) and header."""
    if elf.names >= len(elf.sections):
        return
    strings = elf.sections[elf.names]
    names = read(int(strings["offset"]), min(int(strings["size"]), _MAX_NAMES))
    for section in elf.sections:
        begin = int(section["name"])
        yield names[begin : begin + 64].partition(b"\0")[0], section


def read_elf(read: Read) -> Elf:
    """Parse the headers. Raises ElfError."""
    ident = read(0, 64)
    if len(ident) < 16 or ident[:4] != b"\x7fELF":
        raise ElfError("not an ELF file")
    width, order = {1: 4, 2: 8}.get(ident[4]), {1: "<", 2: ">"}.get(ident[5])
    if width is None or order is None:
        raise ElfError(f"unknown ELF class {ident[4]} or byte order {ident[5]}")
    layouts = (_layout(text, width, order) for text in (_EHDR, _PHDR[ident[4]], _SHDR, _SYM[ident[4]]))
    ehdr, phdr, shdr, symbol = layouts
    if len(ident) < 16 + ehdr.itemsize:
        raise ElfError("the ELF header is cut off")
    head = np.frombuffer(ident, ehdr, 1, 16)[0]
    programs = _table(read, int(head["phoff"]), min(int(head["phnum"]), _MAX_SEGMENTS), phdr)
    sections = _sections(read, head, shdr)
    return Elf(
        _segments(programs),
        sections,
        symbol,
        _build_id(read, programs, sections, order),
        programs,
        int(head["machine"]),
        int(head["shstrndx"]),
        order,
    )


def _layout(text: str, width: int, order: str) -> np.dtype[np.void]:
    fields = (field.split(":") for field in text.split())
    return np.dtype([(name, f"{order}u{width if size == 'a' else size}") for name, size in fields])


def _table(read: Read, offset: int, count: int, record: np.dtype[np.void]) -> Records:
    raw = read(offset, count * record.itemsize)
    return np.frombuffer(raw, record, len(raw) // record.itemsize)


def _sections(read: Read, head: Any, record: np.dtype[np.void]) -> Records:
    offset, count = int(head["shoff"]), int(head["shnum"])
    if not offset:
        return np.empty(0, record)
    if not count:
        # More than 0xff00 sections: the first header's size has the number (gABI, e_shnum).
        count = int(sum(_table(read, offset, 1, record)["size"]))
    return _table(read, offset, min(count, _MAX_SECTIONS), record)


def _segments(programs: Records) -> tuple[Segment, ...]:
    loaded = (
        Segment(int(p["offset"]), int(p["filesz"]), int(p["vaddr"]), bool(p["flags"] & _PF_X))
        for p in programs
        if p["type"] == _PT_LOAD
    )
    return tuple(sorted(loaded, key=lambda segment: not segment.executable))


def _build_id(read: Read, programs: Records, sections: Records, order: str) -> str:
    """The GNU build id in hexadecimal, "" if there is none."""
    for place, size, align in _notes(programs, sections):
        notes = read(place, min(size, _MAX_NOTES))
        align = 8 if align == 8 else 4
        at = 0
        while at + 12 <= len(notes):
            name, length, kind = (int(n) for n in np.frombuffer(notes, f"{order}u4", 3, at))
            begin = at + 12 + _padded(name, align)
            named = notes[at + 12 : at + 12 + name] == b"GNU\0"
            if kind == _NT_GNU_BUILD_ID and named and 0 < length <= _MAX_BUILD_ID:
                return notes[begin : begin + length].hex()
            at = begin + _padded(length, align)
    return ""


def _notes(programs: Records, sections: Records) -> list[tuple[int, int, int]]:
    """(offset, size, alignment). In a debug file the segments' offsets are those of another file: sections, too."""
    segments = programs[programs["type"] == _PT_NOTE][:_MAX_NOTE_PLACES]
    own = sections[sections["type"] == _SHT_NOTE][:_MAX_NOTE_PLACES]
    places = [(p["offset"], p["filesz"], p["align"]) for p in segments]
    places += [(s["offset"], s["size"], s["addralign"]) for s in own]
    return [(int(offset), int(size), int(align)) for offset, size, align in places]


def _padded(size: int, align: int) -> int:
    return -(-size // align) * align
