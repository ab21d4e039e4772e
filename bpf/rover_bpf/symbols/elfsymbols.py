"""The functions of an ELF file: .symtab and .dynsym (gABI, "Symbol Table") into one compact table."""

import numpy as np

from rover_bpf.symbols.elf import SHF_EXECINSTR, SHT_DYNSYM, SHT_SYMTAB, Elf, Records
from rover_bpf.symbols.files import Read
from rover_bpf.symbols.table import EMPTY, U64, Bools, Candidates, SymbolTable, TooLargeError, build, gather_names

_NOTYPE, _FUNC, _GNU_IFUNC = 0, 2, 10
_LOCAL = 0
_RANK_GLOBAL, _RANK_LOCAL, _RANK_LABEL = 0, 1, 2
_SYMBOLS_AT_ONCE = 1 << 13
# Beyond these there are files, but none whose symbols fit: what a hostile one may make us read.
_MAX_SYMTAB = 256 << 20
_MAX_STRTAB = 512 << 20
_COST = 16


def read_symbols(read: Read, elf: Elf, limit: int) -> SymbolTable:
    """All functions of the file. Raises TooLargeError if they would take more than `limit` bytes."""
    blob = bytearray(1)
    main = _named(read, elf, SHT_SYMTAB, np.empty(0, np.uint64), blob, limit)
    # A .dynsym mostly repeats what .symtab has; its names would be kept twice.
    dynamic = _named(read, elf, SHT_DYNSYM, np.sort(main.starts), blob, limit)
    return build(Candidates.concatenate((main, dynamic)), blob).packed() if len(main) + len(dynamic) else EMPTY


def _named(read: Read, elf: Elf, kind: int, known: U64, blob: bytearray, limit: int) -> Candidates:
    tables = np.flatnonzero(elf.sections["type"] == kind)
    if not len(tables) or elf.sections[tables[0]]["link"] >= len(elf.sections):
        return Candidates.none()
    table = elf.sections[tables[0]]
    strings = elf.sections[table["link"]]
    base, size = int(strings["offset"]), min(int(strings["size"]), _MAX_STRTAB)
    found = _functions(read, elf, table, known, limit - len(blob))
    found = found.take(found.names < size)
    room = limit - _COST * (len(known) + len(found))
    names = gather_names(lambda at, count: read(base + at, count), size, found.names, blob, room)
    return found.renamed(names)


def _functions(read: Read, elf: Elf, table: np.void, known: U64, limit: int) -> Candidates:
    step = _SYMBOLS_AT_ONCE * elf.symbol.itemsize
    begin, size = int(table["offset"]), min(int(table["size"]), _MAX_SYMTAB)
    parts, kept = [Candidates.none()], 0
    for at in range(begin, begin + size, step):
        raw = read(at, min(step, begin + size - at))
        if len(raw) < elf.symbol.itemsize:
            break
        part = _candidates(np.frombuffer(raw, elf.symbol, len(raw) // elf.symbol.itemsize), elf.sections)
        part = part.take(~_among(part.starts, known))
        parts.append(part)
        kept += _COST * len(part)
        if kept > limit:
            raise TooLargeError(f"its functions take more than {limit} bytes")
    return Candidates.concatenate(parts)


def _among(values: U64, known: U64) -> Bools:
    if not len(known):
        return np.zeros(len(values), bool)
    found: Bools = known.take(known.searchsorted(values), mode="clip") == values
    return found


def _candidates(symbols: Records, sections: Records) -> Candidates:
    """Functions and labels whose address lies in the executable section that they claim."""
    code = (sections["flags"] & SHF_EXECINSTR) != 0
    index = np.minimum(symbols["shndx"], len(sections) - 1)
    bases = sections["addr"].astype(np.uint64)
    spans = np.where(code, sections["size"], 0).astype(np.uint64)
    starts = symbols["value"].astype(np.uint64)
    into = starts - bases[index]  # wraps round for what lies before the section, and is then too large
    kinds = symbols["info"] & 15
    wanted = (into < spans[index]) & (symbols["shndx"] == index) & (index > 0) & (symbols["name"] != 0)
    wanted &= np.isin(kinds, (_NOTYPE, _FUNC, _GNU_IFUNC))
    rooms = np.minimum(spans[index] - into, 2**32 - 1).astype(np.uint32)
    ranks = np.where(symbols["info"] >> 4 == _LOCAL, _RANK_LOCAL, _RANK_GLOBAL)
    ranks = np.where(kinds == _NOTYPE, _RANK_LABEL, ranks).astype(np.uint8)
    sizes = np.minimum(symbols["size"], rooms).astype(np.uint32)
    names = symbols["name"].astype(np.uint32)
    return Candidates(starts, sizes, rooms, ranks, names).take(wanted)
