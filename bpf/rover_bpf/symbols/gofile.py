"""Where a Go program has its table of functions, by name or by search, and where that table's addresses begin."""

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import islice

import numpy as np

from rover_bpf.symbols.dynamic import relocations
from rover_bpf.symbols.elf import Elf, Segment, named_sections, to_vaddr
from rover_bpf.symbols.elfsymbols import room_in_segments
from rover_bpf.symbols.files import Read
from rover_bpf.symbols.functions import RANK_GLOBAL, Functions
from rover_bpf.symbols.gopclntab import MAGICS, GoError, Layout, read_functions, read_layout
from rover_bpf.symbols.table import Candidates

ORIGIN = ".gopclntab"
_SECTIONS = (b".gopclntab", b".data.rel.ro.gopclntab")
_PT_NOTE = 4
_GO_NOTE = b"Go\0\0"
_SEARCH_AT_ONCE = 1 << 20
_SEARCH_AT_MOST = 256 << 20
_MAX_TRIED = 16
_HEADERS = {
    order: re.compile(
        b"(?:%s)\0\0[\1\2\4][\4\10]"
        % b"|".join(re.escape(np.array([magic], f"{order}u4").tobytes()) for magic in MAGICS)
    )
    for order in "<>"
}
# struct moduledata (Go's src/runtime/symtab.go): the table's address, six slices, and two words before `text`.
_TEXT_IN_MODULE = 1 + 6 * 3 + 3


def add_go(functions: Functions, read: Read, elf: Elf) -> str:
    """Add what a Go program's table names; returns why there is nothing, "" if it is no Go program's file.

    Raises TooLargeError.
    """
    reason = ""
    for offset, size in _places(read, elf):
        try:
            _add(functions, read, elf, offset, size)
            return ""
        except GoError as error:
            reason = str(error)
    return reason


def find_go(read: Read, elf: Elf) -> tuple[Read, Layout, int] | None:
    """A Go program's table: how to read it, its layout, and where its code begins."""
    for offset, size in _places(read, elf):
        with suppress(GoError):
            table, layout = _open(read, elf, offset, size)
            return table, layout, _text_start(read, elf, offset, layout.text) if layout.relative else 0
    return None


def _open(read: Read, elf: Elf, offset: int, size: int) -> tuple[Read, Layout]:
    table = partial(_within, read, offset, size)
    layout = read_layout(table, elf.order)
    if layout.count * 2 * layout.pair.itemsize > size:
        raise GoError("the table of Go's functions is cut off")
    return table, layout


def _add(functions: Functions, read: Read, elf: Elf, offset: int, size: int) -> None:
    table, layout = _open(read, elf, offset, size)
    functions.reserve(layout.count)
    text = _text_start(read, elf, offset, layout.text) if layout.relative else 0
    starts, ends, names = read_functions(table, layout, text)
    room = room_in_segments(elf, starts)
    sizes = np.minimum(np.minimum(ends - starts, room), 2**32 - 1).astype(np.uint32)
    octets = np.full(len(starts), RANK_GLOBAL, np.uint8), np.zeros(len(starts), np.uint8)
    found = Candidates(starts, sizes, sizes, octets[0], names, octets[1]).take(sizes > 0)
    if not len(found):
        raise GoError("the table of Go's functions is not about this file's code")
    functions.add(ORIGIN, (found,), partial(_within, table, layout.names, size), max(size - layout.names, 0))


def _within(read: Read, base: int, size: int, offset: int, count: int) -> bytes:
    return read(base + offset, max(min(count, size - offset), 0))


def _places(read: Read, elf: Elf) -> Iterator[tuple[int, int]]:
    """(offset, size) of what may be the table. Other programs' files are not searched: that reads all of them."""
    named = False
    for name, section in named_sections(read, elf):
        if name in _SECTIONS:
            named = True
            yield int(section["offset"]), int(section["size"])
    if not named and (not len(elf.sections) or _has_go_note(read, elf)):
        yield from _search(read, elf)


def _has_go_note(read: Read, elf: Elf) -> bool:
    """Go's own build id (cmd/internal/buildid), which its linker writes beside or instead of the GNU one."""
    notes = elf.programs[elf.programs["type"] == _PT_NOTE][:8]
    return any(_GO_NOTE in read(int(note["offset"]), min(int(note["filesz"]), 4096)) for note in notes)


def _search(read: Read, elf: Elf) -> Iterator[tuple[int, int]]:
    tried = 0
    for segment, begin in _chunks(elf):
        window = read(begin, _SEARCH_AT_ONCE + 8)
        for header in _HEADERS[elf.order].finditer(window):
            if header.start() < _SEARCH_AT_ONCE and tried < _MAX_TRIED:
                tried += 1
                yield begin + header.start(), segment.offset + segment.size - begin - header.start()


def _chunks(elf: Elf) -> Iterator[tuple[Segment, int]]:
    """Where to look, data first and at most so much in all."""
    left = _SEARCH_AT_MOST
    for segment in reversed(elf.segments):
        for begin in range(segment.offset, segment.offset + min(segment.size, left), _SEARCH_AT_ONCE):
            yield segment, begin
            left -= _SEARCH_AT_ONCE


def _text_start(read: Read, elf: Elf, offset: int, said: int) -> int:
    """The address of runtime.text: as the table says, until Go 1.26; as the module's data say; or that of .text.

    It is the latter but for programs with C in them, whose .text begins with C's start-up code.
    """
    if said and room_in_segments(elf, np.array([said], np.uint64))[0]:
        return said
    address = to_vaddr(elf.segments, offset)
    for text in _texts(read, elf, address):
        if room_in_segments(elf, np.array([text], np.uint64))[0]:
            return text
    return next((int(section["addr"]) for name, section in named_sections(read, elf) if name == b".text"), 0)


def _texts(read: Read, elf: Elf, table: int) -> Iterator[int]:
    """What the module's data may say. In a PIE they are not in the file, but in its relocations."""
    word = elf.sections.dtype["addr"]
    places, addends = relocations(read, elf)
    for header in places[addends == table][:_MAX_TRIED].tolist():
        yield from addends[places == header + _TEXT_IN_MODULE * word.itemsize][:1].tolist()
    for place in islice(find_bytes(read, elf, np.array([table], word).tobytes()), _MAX_TRIED):
        text = read(place + _TEXT_IN_MODULE * word.itemsize, word.itemsize)
        yield from np.frombuffer(text, word).tolist() if len(text) == word.itemsize else ()


def find_bytes(read: Read, elf: Elf, wanted: bytes) -> Iterator[int]:
    """Offsets at which the file's segments hold these bytes, data first."""
    for _, begin in _chunks(elf):
        window = read(begin, _SEARCH_AT_ONCE)
        at = window.find(wanted)
        while at >= 0:
            yield begin + at
            at = window.find(wanted, at + len(wanted))
