"""The functions of one file, gathered from whatever tables name them, within a budget of bytes."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from rover_bpf.symbols.files import Read
from rover_bpf.symbols.packed import PackedNames
from rover_bpf.symbols.table import EMPTY, U64, Bools, Candidates, SymbolTable, TooLargeError, build, gather_names

RANK_GLOBAL, RANK_LOCAL, RANK_LABEL = 0, 1, 2
# Beyond this there are string tables, but none whose names fit: what a hostile file may make us read.
_MAX_STRTAB = 512 << 20
_COST = 12


@dataclass(frozen=True, slots=True)
class Origin:
    """Where names come from, as `.symtab` or a debug file's path, and of how many functions."""

    name: str
    functions: int


class Functions:
    """Tables are added best first: an address that one has named is left out of the next, names and all."""

    def __init__(self, limit: int, *, only_global: bool = False) -> None:
        """limit: most bytes that the table may take."""
        self.origins: list[Origin] = []
        self._limit = limit
        self._only_global = only_global
        self._found = [Candidates.none()]
        self._known: U64 = np.empty(0, np.uint64)
        self._names = PackedNames(b"\0")  # offset 0 is for names that the file does not hold

    def reserve(self, count: int) -> None:
        """Raises TooLargeError if there is no room for so many more functions."""
        if _COST * (len(self._known) + count) > self._limit:
            raise TooLargeError

    def add(self, origin: str, parts: Iterable[Candidates], strings: Read, size: int) -> None:
        """Take over functions whose names are offsets into a string table of `size` bytes. Raises TooLargeError."""
        kept, count = [Candidates.none()], 0
        size = min(size, _MAX_STRTAB)
        for part in parts:
            kept.append(part.take(self._wanted(part, size)))
            count += len(kept[-1])
            self.reserve(count)
        found = Candidates.concatenate(kept)
        if not len(found):
            return
        room = self._limit - _COST * (len(self._known) + len(found))
        names, marks = gather_names(strings, size, found.names, lambda names: self._put(names, room))
        columns = (found.starts, found.sizes, found.rooms, found.ranks)
        self._found.append(Candidates(*columns, names, marks))
        self.origins.append(Origin(origin, _distinct(found.starts)))
        self._known = np.sort(np.concatenate((self._known, found.starts)))

    def table(self) -> SymbolTable:
        return build(Candidates.concatenate(self._found), self._names) if self.origins else EMPTY

    def _wanted(self, part: Candidates, size: int) -> Bools:
        wanted: Bools = part.names < size
        if self._only_global:
            wanted &= part.ranks == RANK_GLOBAL
        if len(self._known):
            wanted &= self._known.take(self._known.searchsorted(part.starts), mode="clip") != part.starts
        return wanted

    def _put(self, names: bytes, room: int) -> int:
        at = self._names.append(names)
        if len(self._names) > room:
            raise TooLargeError
        return at


def _distinct(addresses: U64) -> int:
    """How many different ones there are, of one or more: np.unique would import numpy.ma, which takes 3 MB."""
    return 1 + int(np.count_nonzero(np.diff(np.sort(addresses))))
