"""The executable mappings of a process, out of /proc/<pid>/maps (proc(5))."""

import os
import sys
from dataclasses import dataclass

# vm.max_map_count allows 65 530 mappings; a process that makes thousands of them executable is cut here.
MAX_MAPPINGS = 8192

# Mapped "files" the kernel made up: anonymous shared memory, System V segments, huge pages, memfds of JITs.
_MADE_UP = ("/dev/zero", "//anon", "/SYSV", "/anon_hugepage", "/memfd:")
_DELETED = " (deleted)"


@dataclass(frozen=True, slots=True)
class Mapping:
    """Executable pages [start, end) of a process, showing `path` from byte `offset` on.

    device: st_dev as the kernel shows it here; some file systems (overlayfs, btrfs) show another one to stat.
    path: as the process sees it; `[vdso]` and the like for the kernel's own; "" for anonymous memory.
    """

    start: int
    end: int
    offset: int
    device: int
    inode: int
    path: str

    @property
    def of_file(self) -> bool:
        return self.path.startswith("/") and self.inode != 0

    @property
    def deleted(self) -> bool:
        return self.path.endswith(_DELETED)

    @property
    def named_path(self) -> str:
        """The path without the kernel's remark that it is gone."""
        return self.path.removesuffix(_DELETED)

    @property
    def may_be_jit(self) -> bool:
        """Whether code may have been written here at run time, to be named by a perf map if at all."""
        return self.path in ("", "[heap]", "[stack]") or self.path.startswith(("[anon", *_MADE_UP))

    @property
    def module(self) -> str:
        """What frames in here are shown under."""
        if self.path.startswith("["):
            return self.path
        return self.named_path.rsplit("/", 1)[-1] or "[anon]"


def parse_maps(raw: bytes) -> tuple[Mapping, ...]:
    """The executable mappings by ascending address, at most MAX_MAPPINGS. Lines that make no sense are skipped."""
    found: list[Mapping] = []
    for line in raw.splitlines():
        if line[line.find(b" ") + 3 : line.find(b" ") + 4] == b"x" and (mapping := _mapping(line)):
            found.append(mapping)
            if len(found) == MAX_MAPPINGS:
                break
    return tuple(found)


def _mapping(line: bytes) -> Mapping | None:
    fields = line.split(None, 5)
    try:
        start, end = (int(part, 16) for part in fields[0].split(b"-"))
        major, minor = (int(part, 16) for part in fields[3].split(b":"))
        offset, inode = int(fields[2], 16), int(fields[4])
    except (ValueError, IndexError):
        return None
    # The kernel writes a newline in a name as \012; the path is the same in hundreds of processes.
    path = os.fsdecode(fields[5]).replace("\\012", "\n") if len(fields) == 6 else ""
    return Mapping(start, end, offset, os.makedev(major, minor), inode, sys.intern(path))
