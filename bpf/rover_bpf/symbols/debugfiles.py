"""Separate debug files: where distributions put the symbols that they strip (GDB's manual, "Separate Debug Files").

Looked for in the process's own root first, for containers bring their own, then on the host. A file counts only if it
says itself that it belongs: by the same build id, or by the checksum that the stripped file gives.
"""

import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from rover_bpf.symbols.elf import Elf, ElfError, named_sections, read_elf
from rover_bpf.symbols.files import Read, open_regular, reader

_DEBUG = PurePosixPath("usr/lib/debug")
_LINK = b".gnu_debuglink"
_MAX_NAME = 255
# The checksum is over all of the file, which takes 0.1 s for these. Larger ones have a build id.
_MAX_CHECKED = 256 << 20
_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Around:
    """Where a file was found. path: as its process sees it; roots: root directories to look into, best first."""

    path: str = ""
    roots: tuple[Path, ...] = ()


NOWHERE = Around()
"""For a file of which nothing else belongs: an image in memory, or one whose other files do not matter."""


@dataclass(frozen=True, slots=True)
class DebugLink:
    """What .gnu_debuglink says: the debug file's name, without directory, and its CRC-32."""

    name: str
    crc: int


@dataclass(frozen=True, slots=True, eq=False)
class DebugFile:
    """path: below the root that it was found in."""

    path: str
    read: Read
    elf: Elf


@contextmanager
def open_debug_file(read: Read, elf: Elf, around: Around) -> Iterator[DebugFile | None]:
    """The first debug file that belongs to this one, None if there is none."""
    with ExitStack() as opened:
        link = read_debug_link(read, elf)
        places = ((root, path) for root in around.roots for path in _paths(elf, link, around))
        found = (_try(root, path, elf, link, opened) for root, path in places)
        yield next((file for file in found if file), None)


def read_debug_link(read: Read, elf: Elf) -> DebugLink | None:
    """None if there is none, or one that leads anywhere but to a plain file name."""
    section = next((section for name, section in named_sections(read, elf) if name == _LINK), None)
    if section is None:
        return None
    content = read(int(section["offset"]), min(int(section["size"]), _MAX_NAME + 9))
    name = content.partition(b"\0")[0]
    checksum = content[(len(name) + 4) & ~3 :][:4]
    if not name or b"/" in name or name in (b".", b"..") or len(checksum) < 4:
        return None
    return DebugLink(os.fsdecode(name), int(np.frombuffer(checksum, f"{elf.order}u4")[0]))


def _paths(elf: Elf, link: DebugLink | None, around: Around) -> Iterator[PurePosixPath]:
    directory = PurePosixPath(around.path.lstrip("/")).parent
    if len(elf.build_id) > 2:
        yield _DEBUG / ".build-id" / elf.build_id[:2] / f"{elf.build_id[2:]}.debug"
    if link:
        for place in (directory, directory / ".debug", _DEBUG / directory):
            yield place / link.name


def _try(root: Path, path: PurePosixPath, elf: Elf, link: DebugLink | None, opened: ExitStack) -> DebugFile | None:
    """The debug file, open for as long as `opened` is; None if there is none of that name, or it is another's."""
    with suppress(OSError, ElfError, ValueError):
        descriptor = open_regular(root / path)
        opened.callback(os.close, descriptor)
        read = reader(descriptor)
        other = read_elf(read)
        if _belongs(read, other, elf, link):
            return DebugFile(f"/{path}", read, other)
    return None


def _belongs(read: Read, other: Elf, elf: Elf, link: DebugLink | None) -> bool:
    if other.machine != elf.machine or other.symbol != elf.symbol:
        return False
    if elf.build_id and other.build_id:
        return elf.build_id == other.build_id
    return link is not None and _crc(read) == link.crc


def _crc(read: Read) -> int | None:
    """None for a file that is too large to be checked."""
    crc = 0
    for offset in range(0, _MAX_CHECKED, _AT_ONCE):
        part = read(offset, _AT_ONCE)
        crc = zlib.crc32(part, crc)
        if len(part) < _AT_ONCE:
            return crc
    return None
