"""What a Go program says of itself: the release that built it, and where a few functions are.

Both are in its file however it was stripped.
"""

import re

import numpy as np

from rover_bpf.symbols.elf import Elf, named_sections, to_offset
from rover_bpf.symbols.files import Read
from rover_bpf.symbols.gofile import find_bytes, find_go
from rover_bpf.symbols.gopclntab import read_functions

# Go's src/debug/buildinfo/buildinfo.go: 14 bytes, the size of a pointer, flags; 16 bytes that since Go 1.18 are
# nothing, and before were the addresses of two strings' headers; since Go 1.18 the strings themselves.
_MAGIC = b"\xff Go buildinf:"
_HEADER, _INLINE, _BIG_ENDIAN = 32, 2, 1
_LONGEST_VERSION = 256
_SECTION = b".go.buildinfo"
_AT_ONCE = 1 << 20
_RELEASE = re.compile(r"go1\.(\d{1,4})(?!\d)")


def read_go_version(read: Read, elf: Elf) -> str:
    """As `go version` shows it: `go1.21.13`, `go1.17.1 X:noregabi`, `devel go1.27-1234abc`; "" if it is not there."""
    named = [int(section["offset"]) for name, section in named_sections(read, elf) if name == _SECTION]
    for place in named or find_bytes(read, elf, _MAGIC):
        if version := _version(read, elf, place):
            return version
    return ""


def go_release(version: str) -> int | None:
    """The second number of Go's version, which is all that its ABI depends on; None if there is none."""
    found = _RELEASE.search(version)
    return int(found[1]) if found else None


def find_go_functions(read: Read, elf: Elf, names: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """(start, end) of those of these functions that there are, by name, as addresses of the file.

    None of a file that is no Go program's. Raises GoError if the program's table of functions makes no sense.
    """
    found = find_go(read, elf)
    if found is None:
        return {}
    table, layout, text = found
    starts, ends, places = read_functions(table, layout, text)
    functions: dict[str, tuple[int, int]] = {}
    for name, place in _find_names(table, layout.names, int(places.max(initial=0)), names).items():
        for at in np.flatnonzero(places == place)[:1].tolist():
            functions[name] = int(starts[at]), int(ends[at])
    return functions


def _version(read: Read, elf: Elf, place: int) -> str:
    head = read(place, _HEADER + 10 + _LONGEST_VERSION)
    if len(head) < _HEADER or not head.startswith(_MAGIC):
        return ""
    width, flags = head[14], head[15]
    if flags & _INLINE:
        return _text(head[_HEADER + 2 :] if head[_HEADER] & 0x80 else head[_HEADER + 1 :], _length(head[_HEADER:]))
    if width not in (4, 8):
        return ""
    word = np.dtype(f"{'>' if flags & _BIG_ENDIAN else '<'}u{width}")
    header = to_offset(elf.segments, int(np.frombuffer(head, word, 1, 16)[0]))
    raw = read(header, 2 * width) if header is not None else b""
    if len(raw) < 2 * width:
        return ""
    address, length = np.frombuffer(raw, word).tolist()
    text = to_offset(elf.segments, address)
    return _text(read(text, _LONGEST_VERSION), length) if text is not None else ""


def _length(varint: bytes) -> int:
    return varint[0] & 0x7F | (varint[1] & 0x7F) << 7 if varint[0] & 0x80 else varint[0]


def _text(raw: bytes, length: int) -> str:
    return raw[: min(length, _LONGEST_VERSION)].decode("ascii", "replace") if length <= len(raw) else ""


def _find_names(table: Read, base: int, last: int, names: tuple[str, ...]) -> dict[str, int]:
    """Offsets at which the table of names, whose last one begins at `last`, has these; others end with them too."""
    wanted = {b"\0%s\0" % name.encode(): name for name in names}
    longest = max(map(len, wanted))
    found: dict[str, int] = {}
    for begin in range(0, last + 1, _AT_ONCE):
        # A byte more in front: the one that ends the name before.
        window = table(base + begin - 1, 1) + table(base + begin, _AT_ONCE + longest)
        if len(window) < 2:
            break
        for text, name in wanted.items():
            at = window.find(text)
            if at >= 0:
                found.setdefault(name, begin + at)
    return found
