"""Symbols of mapped files, each kept once however many processes, containers or paths show it."""

import ctypes
import os
from contextlib import suppress
from dataclasses import dataclass

from rover_bpf.symbols.cache import TableCache
from rover_bpf.symbols.elf import Elf, ElfError, Segment, read_elf
from rover_bpf.symbols.elfsymbols import read_symbols
from rover_bpf.symbols.files import FileId, Read, file_id, reader
from rover_bpf.symbols.table import EMPTY, SymbolTable, TooLargeError

_MAX_KNOWN_FILES = 8192
# What an image takes beside its table: the objects, its segments, its place in the dictionaries.
_OVERHEAD = 1024
_SEGMENT = 160
_WORTH_A_TRIM = 1 << 20

Key = tuple[str, int] | FileId


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


class Images:
    """Images by what they are: the build id and size of the file where it has an id, else its place on the disk.

    Two files of one build id and one size are taken for the same file. A process's owner can forge that, and so
    give other processes' functions names of his choosing; as in every profiler that shares by build id.
    """

    def __init__(self, cache: TableCache) -> None:
        self._cache = cache
        self._keys: dict[FileId, Key] = {}

    def known(self, file: FileId) -> Image | None:
        """The image of a file that was loaded before and is still held."""
        key = self._keys.get(file)
        image = self._cache.get(key) if key else None
        return image if isinstance(image, Image) else None

    def load(self, descriptor: int) -> tuple[FileId, Image]:
        """The image of an open file. Raises OSError; a file that makes no sense is an image with a reason."""
        file = file_id(os.fstat(descriptor))
        if image := self.known(file):
            return file, image
        read = reader(descriptor)
        try:
            elf = read_elf(read)
        except ElfError as error:
            return file, self._keep(file, file, Image((), EMPTY, str(error)))
        key: Key = (elf.build_id, file[2]) if elf.build_id else file
        held = self._cache.get(key)
        image = held if isinstance(held, Image) else read_image(read, elf, self._cache.max_bytes * 3 // 4)
        return file, self._keep(file, key, image)

    def _keep(self, file: FileId, key: Key, image: Image) -> Image:
        if len(self._keys) >= _MAX_KNOWN_FILES:
            self._keys.clear()
        self._keys[file] = key
        if self._cache.get(key) is not image:
            self._cache.put(key, image)
            if image.nbytes > _WORTH_A_TRIM:
                _give_back_memory()
        return image


def _give_back_memory() -> None:
    """Return to the kernel what loading needed for a moment: 5 of 12 MB after Node's table, in 3 ms."""
    with suppress(AttributeError, OSError):  # glibc only
        ctypes.CDLL(None).malloc_trim(0)
