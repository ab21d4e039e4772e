"""Executable files that processes map, each once whoever maps it."""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rover_bpf.symbols.elf import Elf, read_elf
from rover_bpf.symbols.files import FileId, file_id, open_regular, reader
from rover_bpf.symbols.lookup import find_functions
from rover_bpf.symbols.maps import Mapping as MemoryMapping
from rover_bpf.symbols.maps import parse_maps
from rover_bpf.symbols.procfs import read_maps

_AT_ONCE = 1 << 20
# Constants of what has a TLS library in it, and of what is not worth the time.
_LEAST, _MOST = 1 << 18, 128 << 20


class MappedElf:
    """A `rover_core.api.TlsFile`, open."""

    def __init__(self, path: str, descriptor: int) -> None:
        """path: as the process that maps it names it. Raises ElfError, OSError."""
        self.path = path
        self.descriptor = descriptor
        self.read = reader(descriptor)
        self.elf: Elf = read_elf(self.read)
        self.build_id = self.elf.build_id

    def functions(self, names: Collection[str]) -> Mapping[str, int]:
        return find_functions(self.read, self.elf, names)

    def mentions(self, text: bytes) -> bool:
        constants = [segment for segment in self.elf.segments if not segment.executable]
        if not _LEAST < sum(segment.size for segment in constants) < _MOST:
            return False
        return any(
            text in self.read(segment.offset + at, min(_AT_ONCE + len(text), segment.size - at))
            for segment in constants
            for at in range(0, segment.size, _AT_ONCE)
        )


def mapped_files(directory: Path) -> Iterator[MemoryMapping]:
    """The executable mappings of a process that show files, one for each file. directory: /proc/<pid>.

    Raises OSError if it may not be looked at, or is gone.
    """
    seen: set[tuple[int, int]] = set()
    for mapping in parse_maps(read_maps(directory)):
        place = mapping.device, mapping.inode
        if mapping.of_file and place not in seen:
            seen.add(place)
            yield mapping


def _paths(directory: Path, mapping: MemoryMapping) -> Iterator[Path]:
    yield directory / "map_files" / f"{mapping.start:x}-{mapping.end:x}"  # deleted files too, with CAP_SYS_ADMIN
    yield directory / "root" / mapping.named_path.lstrip("/")


@contextmanager
def opened(directory: Path, mapping: MemoryMapping) -> Iterator[tuple[FileId, int]]:
    """The mapped file, open: what it is, and a descriptor. Raises OSError."""
    refusals = []
    for path in _paths(directory, mapping):
        try:
            descriptor = open_regular(path)
        except OSError as error:
            refusals.append(str(error))
            continue
        try:
            status = os.fstat(descriptor)
            if status.st_ino != mapping.inode:
                refusals.append(f"{path} is not the file that is mapped")
                continue
            yield file_id(status), descriptor
            return
        finally:
            os.close(descriptor)
    raise OSError("; ".join(refusals))
