"""What is known of one process: its executable mappings, now and before, and their files."""

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rover_bpf.symbols.filetables import FileTables
from rover_bpf.symbols.mapped import MappedFile
from rover_bpf.symbols.maps import Mapping, parse_maps

# How many older sets of mappings are kept: addresses sampled before an exec or a dlclose are resolved after it.
_GENERATIONS = 4


@dataclass(frozen=True, slots=True)
class Place:
    """A mapping. file: None where it shows no file; module: what its frames are shown under."""

    mapping: Mapping
    file: MappedFile | None
    module: str


@dataclass(frozen=True, slots=True)
class _Generation:
    starts: list[int]
    places: tuple[Place, ...]

    def find(self, address: int) -> Place | None:
        index = bisect_right(self.starts, address) - 1
        if index < 0 or address >= self.places[index].mapping.end:
            return None
        return self.places[index]


class ObservedProcess:
    """Built and updated while the process lives; answers for as long as it is kept."""

    def __init__(self, directory: Path) -> None:
        """directory: /proc/<pid>."""
        self._directory = directory
        self._generations: deque[_Generation] = deque(maxlen=_GENERATIONS)
        self._files: dict[tuple[int, int, str], MappedFile] = {}
        self._digest = 0

    @property
    def places(self) -> tuple[Place, ...]:
        """The executable mappings as last seen, with their files."""
        return self._generations[0].places if self._generations else ()

    @property
    def mappings(self) -> tuple[Mapping, ...]:
        """The executable mappings as last seen."""
        return tuple(place.mapping for place in self.places)

    @property
    def may_have_jit(self) -> bool:
        """Whether there is memory that code may have been compiled into."""
        return any(mapping.may_be_jit for mapping in self.mappings)

    def update(self, maps: bytes, tables: FileTables[Any]) -> bool:
        """Take over the content of /proc/<pid>/maps; whether executable mappings have changed."""
        digest = hash(maps)
        if digest == self._digest:
            return False
        self._digest = digest
        mappings = parse_maps(maps)
        if not mappings or mappings == self.mappings:
            return False  # empty: a process that is exiting has lost its memory before its place in /proc
        self._generations.appendleft(self._generation(mappings, tables))
        self._forget_unmapped()
        return True

    def find(self, address: int) -> Place | None:
        """Where the address is, by the latest mappings that cover it."""
        for generation in self._generations:
            if place := generation.find(address):
                return place
        return None

    def _generation(self, mappings: tuple[Mapping, ...], tables: FileTables[Any]) -> _Generation:
        places = tuple(Place(mapping, self._file(mapping, tables), mapping.module) for mapping in mappings)
        return _Generation([mapping.start for mapping in mappings], places)

    def _file(self, mapping: Mapping, tables: FileTables[Any]) -> MappedFile | None:
        if not mapping.of_file:
            return None
        key = (mapping.device, mapping.inode, mapping.path)
        file = self._files.get(key)
        if file is None:
            file = self._files[key] = MappedFile(mapping, self._directory)
            file.settle(tables)
        return file

    def _forget_unmapped(self) -> None:
        """A process that loads and unloads libraries for ever must not make this grow for ever."""
        held = {id(place.file) for generation in self._generations for place in generation.places}
        self._files = {key: file for key, file in self._files.items() if id(file) in held}
