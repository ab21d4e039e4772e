"""What symbols need to know of a process beside its mappings: who it is, and what it calls itself."""

from dataclasses import dataclass
from pathlib import Path

_MAX_MAPS = 16 << 20


@dataclass(frozen=True, slots=True)
class Status:
    """nspid: its pid as it knows it itself (innermost namespace); uids: real, effective, saved, file system."""

    nspid: int
    uids: frozenset[int]


def start_ticks(directory: Path) -> int | None:
    """Field 22 of stat, the process's start; None if there is no such process. The name in field 2 may hold `) `."""
    try:
        return int((directory / "stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def read_maps(directory: Path) -> bytes:
    """Raises OSError. Cut at 16 MB, twice what vm.max_map_count allows."""
    with (directory / "maps").open("rb", buffering=0) as maps:
        chunks, size = [], 0
        while size < _MAX_MAPS and (chunk := maps.read(1 << 16)):
            chunks.append(chunk)
            size += len(chunk)
    return b"".join(chunks)


def read_status(directory: Path) -> Status | None:
    """None if the process is gone. Kernels before 4.1 have no NSpid: then it is the pid itself."""
    try:
        lines = (directory / "status").read_bytes().splitlines()
        fields = dict(line.split(b":", 1) for line in lines if b":" in line)
        nspid = fields.get(b"NSpid", fields[b"Pid"]).split()[-1]
        return Status(int(nspid), frozenset(map(int, fields[b"Uid"].split())))
    except (OSError, ValueError, KeyError, IndexError):
        return None
