"""Symbols of mapped files, each kept once however many processes, containers or paths show it."""

import ctypes
from contextlib import suppress
from dataclasses import dataclass

from rover_bpf.symbols.cache import TableCache
from rover_bpf.symbols.elf import Elf, Segment
from rover_bpf.symbols.elfsymbols import read_symbols
from rover_bpf.symbols.files import Read, reader
from rover_bpf.symbols.filetables import FileTables
from rover_bpf.symbols.table import EMPTY, SymbolTable, TooLargeError

# What an image takes beside its table: the objects, its segments, its place in the dictionaries.
_OVERHEAD = 1024
_SEGMENT = 160
_WORTH_A_TRIM = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """reason: why there are no symbols, "" if there are; segments: empty where the file is no ELF file."""

    segments: tuple[Segment, ...]
    symbols: SymbolTable
    reason: str = ""

    @property
    def nbytes(self) -> int:
        return self.symbols.nbytes + _OVERHEAD + _SEGMENT * len(self.segments)


def read_image(read: Read, elf: Elf, limit: int) -> Image:
    """The image with its symbols, or without and with the reason."""
    try:
        symbols = read_symbols(read, elf, limit)
    except TooLargeError as error:
        return Image(elf.segments, EMPTY, str(error))
    return Image(elf.segments, symbols, "" if len(symbols) else "it has no symbols (stripped)")


class Images(FileTables[Image]):
    """Images by what their file is."""

    def __init__(self, cache: TableCache) -> None:
        super().__init__(cache, Image)

    def _parse(self, descriptor: int, elf: Elf) -> Image:
        image = read_image(reader(descriptor), elf, self._cache.max_bytes * 3 // 4)
        if image.nbytes > _WORTH_A_TRIM:
            _give_back_memory()
        return image

    def _without(self, reason: str) -> Image:
        return Image((), EMPTY, reason)


def _give_back_memory() -> None:
    """Return to the kernel what loading needed for a moment: 5 of 12 MB after Node's table, in 3 ms."""
    with suppress(AttributeError, OSError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)
