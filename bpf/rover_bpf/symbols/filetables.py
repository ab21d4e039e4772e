"""Something read from each mapped file, kept once however many processes, containers or paths show that file."""

import os
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from rover_bpf.symbols.cache import Table, TableCache
from rover_bpf.symbols.debugfiles import NOWHERE, Around
from rover_bpf.symbols.elf import Elf, ElfError, read_elf
from rover_bpf.symbols.files import FileId, file_id, reader

_MAX_KNOWN_FILES = 8192

Key = tuple[str, int] | FileId

T = TypeVar("T", bound=Table)


class FileTables(ABC, Generic[T]):
    """Tables by what their file is: its build id and size where it has an id, else its place on the disk.

    Two files of one build id and one size are taken for the same file. A process's owner can forge that, and so
    give other processes' code tables of his choosing; as in every profiler that shares by build id.
    """

    def __init__(self, cache: TableCache, kind: type[T]) -> None:
        """kind: what this class reads; the cache may hold other things as well."""
        self._cache = cache
        self._kind = kind
        self._keys: dict[FileId, Key] = {}

    @abstractmethod
    def _parse(self, descriptor: int, elf: Elf, around: Around) -> T:
        """Read an ELF file. Raises OSError; what makes no sense is a table with a reason.

        around: where it was found, for what belongs to it and lies elsewhere. That is looked for once for all
        processes that share the table; that there is none is kept with it.
        """

    @abstractmethod
    def _without(self, reason: str) -> T:
        """The table of a file that is no ELF file."""

    def known(self, file: FileId) -> T | None:
        """The table of a file that was loaded before and is still held."""
        key = self._keys.get(file)
        table = self._cache.get(key) if key else None
        return table if isinstance(table, self._kind) else None

    def load(self, descriptor: int, around: Around = NOWHERE) -> tuple[FileId, T]:
        """The table of an open file. Raises OSError; a file that makes no sense is a table with a reason."""
        file = file_id(os.fstat(descriptor))
        if table := self.known(file):
            return file, table
        try:
            elf = read_elf(reader(descriptor))
        except ElfError as error:
            return file, self._keep(file, file, self._without(str(error)))
        key: Key = (elf.build_id, file[2]) if elf.build_id else file
        held = self._cache.get(key)
        table = held if isinstance(held, self._kind) else self._parse(descriptor, elf, around)
        return file, self._keep(file, key, table)

    def _keep(self, file: FileId, key: Key, table: T) -> T:
        if len(self._keys) >= _MAX_KNOWN_FILES:
            self._keys.clear()
        self._keys[file] = key
        if self._cache.get(key) is not table:
            self._cache.put(key, table)
        return table
