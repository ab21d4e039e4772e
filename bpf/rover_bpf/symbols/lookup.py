"""Where a file has some functions of known names, without reading all that it names."""

from collections.abc import Collection, Iterator, Mapping

import numpy as np

from rover_bpf.symbols.dynamic import find_dynamic_symbols
from rover_bpf.symbols.elf import SHT_DYNSYM, SHT_SYMTAB, Elf, to_offset
from rover_bpf.symbols.files import Read

_MAX_STRINGS = 512 << 20
_MAX_SYMBOLS = 256 << 20
_AT_ONCE = 1 << 20
_FUNCTIONS = (2, 10)  # STT_FUNC, STT_GNU_IFUNC


def find_functions(read: Read, elf: Elf, names: Collection[str]) -> Mapping[str, int]:
    """Offsets in the file of the functions that it exports, or else only names in .symtab. Others are left out."""
    wanted = {name.encode() + b"\0": name for name in names}
    for symbols, size, strings, strings_size in _tables(read, elf):
        places = _find_strings(read, strings, strings_size, wanted)
        if found := _find_symbols(read, elf, symbols, size, places):
            return found
    return {}


def _tables(read: Read, elf: Elf) -> Iterator[tuple[int, int, int, int]]:
    """Offsets and sizes of symbols and of their names: .dynsym's, which is small, before .symtab's."""
    sections = elf.sections
    for kind in (SHT_DYNSYM, SHT_SYMTAB):
        for table in sections[sections["type"] == kind][:1]:
            if table["link"] < len(sections):
                strings = sections[table["link"]]
                yield int(table["offset"]), int(table["size"]), int(strings["offset"]), int(strings["size"])
    if not np.any(sections["type"] == SHT_DYNSYM) and (place := find_dynamic_symbols(read, elf)):
        yield place.symbols, place.symbols_size, place.strings, place.strings_size


def _find_strings(read: Read, begin: int, size: int, wanted: Mapping[bytes, str]) -> Mapping[int, str]:
    """Offsets of these strings in a string table, also as ends of longer ones: linkers share tails."""
    longest = max(map(len, wanted), default=0)
    found: dict[int, str] = {}
    size = min(size, _MAX_STRINGS)
    for at in range(0, size, _AT_ONCE):
        chunk = read(begin + at, min(_AT_ONCE + longest, size - at))
        for text, name in wanted.items():
            place = chunk.find(text)
            while place >= 0:
                found[at + place] = name
                place = chunk.find(text, place + 1)
    return found


def _find_symbols(read: Read, elf: Elf, begin: int, size: int, places: Mapping[int, str]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    if not places:
        return found
    step = _AT_ONCE // elf.symbol.itemsize * elf.symbol.itemsize
    keys = np.array(list(places), np.uint64)
    for at in range(0, min(size, _MAX_SYMBOLS), step):
        raw = read(begin + at, min(step, size - at))
        symbols = np.frombuffer(raw, elf.symbol, len(raw) // elf.symbol.itemsize)
        named = np.isin(symbols["name"].astype(np.uint64), keys)
        for symbol in symbols[named & np.isin(symbols["info"] & 15, _FUNCTIONS) & (symbols["shndx"] > 0)]:
            offset = to_offset(elf.segments, int(symbol["value"]))
            if offset is not None:
                found.setdefault(places[int(symbol["name"])], offset)
    return found
