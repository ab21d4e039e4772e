"""The functions of an ELF file's own tables: .symtab and .dynsym (gABI, "Symbol Table")."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from rover_bpf.symbols.dynamic import find_dynamic_symbols
from rover_bpf.symbols.elf import SHF_EXECINSTR, SHT_DYNSYM, SHT_SYMTAB, Elf, Records
from rover_bpf.symbols.files import Read
from rover_bpf.symbols.functions import RANK_GLOBAL, RANK_LABEL, RANK_LOCAL, Functions
from rover_bpf.symbols.table import U64, Bools, Candidates

_NOTYPE, _FUNC, _GNU_IFUNC = 0, 2, 10
_LOCAL = 0
_SYMBOLS_AT_ONCE = 1 << 13
_MAX_SYMTAB = 256 << 20
# Linkers make one executable segment, rarely two.
_MAX_CODE_SEGMENTS = 16


def add_symtab(functions: Functions, origin: str, read: Read, elf: Elf, shift: int = 0) -> None:
    """What .symtab names. shift: what to add to its addresses, modulo 2**64. Raises TooLargeError."""
    _add_section(functions, origin, read, elf, SHT_SYMTAB, shift)


def add_dynsym(functions: Functions, read: Read, elf: Elf) -> None:
    """What the file exports; found by its segments if it has lost its section headers. Raises TooLargeError."""
    if np.any(elf.sections["type"] == SHT_DYNSYM):
        _add_section(functions, ".dynsym", read, elf, SHT_DYNSYM)
    elif place := find_dynamic_symbols(read, elf):
        parts = _candidates(read, elf, place.symbols, place.symbols_size, by_segments=True)
        functions.add(".dynsym", parts, partial(_read_from, read, place.strings), place.strings_size)


def room_in_segments(elf: Elf, addresses: U64) -> U64:
    """Bytes from each address to the end of its executable segment; 0 outside of all."""
    room = np.zeros(len(addresses), np.uint64)
    for segment in [segment for segment in elf.segments if segment.executable][:_MAX_CODE_SEGMENTS]:
        into = addresses - np.uint64(segment.vaddr)  # wraps round for what lies before, and is then too large
        room = np.where(into < segment.size, np.uint64(segment.size) - into, room)
    return room


def _read_from(read: Read, base: int, offset: int, size: int) -> bytes:
    return read(base + offset, size)


def _add_section(functions: Functions, origin: str, read: Read, elf: Elf, kind: int, shift: int = 0) -> None:
    tables = np.flatnonzero(elf.sections["type"] == kind)
    if not len(tables) or elf.sections[tables[0]]["link"] >= len(elf.sections):
        return
    table = elf.sections[tables[0]]
    strings = elf.sections[table["link"]]
    parts = _candidates(read, elf, int(table["offset"]), int(table["size"]), shift=shift)
    functions.add(origin, parts, partial(_read_from, read, int(strings["offset"])), int(strings["size"]))


def _candidates(
    read: Read, elf: Elf, begin: int, size: int, *, by_segments: bool = False, shift: int = 0
) -> Iterator[Candidates]:
    size = min(size, _MAX_SYMTAB)
    step = _SYMBOLS_AT_ONCE * elf.symbol.itemsize
    for at in range(begin, begin + size, step):
        raw = read(at, min(step, begin + size - at))
        symbols = np.frombuffer(raw, elf.symbol, len(raw) // elf.symbol.itemsize)
        if not len(symbols):
            return
        rooms = room_in_segments(elf, _addresses(symbols)) if by_segments else _room_in_sections(elf, symbols)
        yield _functions(symbols, rooms, shift)


def _addresses(symbols: Records) -> U64:
    return symbols["value"].astype(np.uint64)


def _room_in_sections(elf: Elf, symbols: Records) -> U64:
    """Bytes from each symbol to the end of the section that it claims; 0 if that is not code or not its place."""
    sections = elf.sections
    code = (sections["flags"] & SHF_EXECINSTR) != 0
    index = np.minimum(symbols["shndx"], len(sections) - 1)
    spans = np.where(code, sections["size"], 0).astype(np.uint64)[index]
    into = _addresses(symbols) - sections["addr"].astype(np.uint64)[index]
    inside: Bools = (into < spans) & (symbols["shndx"] == index)
    return np.where(inside, spans - into, np.uint64(0))


def _functions(symbols: Records, rooms: U64, shift: int) -> Candidates:
    kinds = symbols["info"] & 15
    wanted = (rooms > 0) & (symbols["shndx"] > 0) & (symbols["name"] != 0)
    wanted &= np.isin(kinds, (_NOTYPE, _FUNC, _GNU_IFUNC))
    ranks = np.where(symbols["info"] >> 4 == _LOCAL, RANK_LOCAL, RANK_GLOBAL)
    ranks = np.where(kinds == _NOTYPE, RANK_LABEL, ranks).astype(np.uint8)
    most = np.minimum(rooms, 2**32 - 1).astype(np.uint32)
    sizes = np.minimum(symbols["size"], most).astype(np.uint32)
    names = symbols["name"].astype(np.uint32)
    starts = _addresses(symbols) + np.uint64(shift)
    return Candidates(starts, sizes, most, ranks, names, np.zeros(len(symbols), np.uint8)).take(wanted)
