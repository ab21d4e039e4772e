"""Symbols of mapped files, each kept once however many processes, containers or paths show it."""

import ctypes
from contextlib import suppress
from dataclasses import dataclass

from rover_bpf.symbols.cache import TableCache
from rover_bpf.symbols.debugfiles import NOWHERE, Around
from rover_bpf.symbols.elf import Elf, Segment
from rover_bpf.symbols.files import Read, reader
from rover_bpf.symbols.filetables import FileTables
from rover_bpf.symbols.functions import Origin
from rover_bpf.symbols.sources import read_symbols
from rover_bpf.symbols.table import EMPTY, SymbolTable

# What an image takes beside its table: the objects, its segments, its place in the dictionaries.
_OVERHEAD = 1024
_SEGMENT = 160
_WORTH_A_TRIM = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """segments: empty where the file is no ELF file; reason: why there are no symbols or not all, "" if there are;
    origins: where they came from; build_id: in hexadecimal, "" if there is none.
    """

    segments: tuple[Segment, ...]
    symbols: SymbolTable
    reason: str = ""
    origins: tuple[Origin, ...] = ()
    build_id: str = ""

    @property
    def nbytes(self) -> int:
        return self.symbols.nbytes + _OVERHEAD + _SEGMENT * len(self.segments)


def read_image(read: Read, elf: Elf, limit: int, around: Around = NOWHERE) -> Image:
    """The image with its symbols, or without and with the reason."""
    found = read_symbols(read, elf, limit, around)
    return Image(elf.segments, found.table, found.reason, found.origins, elf.build_id)


class Images(FileTables[Image]):
    """Images by what their file is."""

    def __init__(self, cache: TableCache) -> None:
        super().__init__(cache, Image)

    def _parse(self, descriptor: int, elf: Elf, around: Around) -> Image:
        image = read_image(reader(descriptor), elf, self._cache.max_bytes * 7 // 8, around)
        if image.nbytes > _WORTH_A_TRIM:
            _give_back_memory()
        return image

    def _without(self, reason: str) -> Image:
        return Image((), EMPTY, reason)


def _give_back_memory() -> None:
    """Return to the kernel what loading needed for a moment: 5 of 12 MB after Node's table, in 3 ms."""
    with suppress(AttributeError, OSError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)
