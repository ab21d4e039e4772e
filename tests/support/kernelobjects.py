"""What a program holds of eBPF, descriptors, threads and memory, and what is left of eBPF that nobody holds.

By the kernel's lists of numbers and /proc, not by bpftool: its lists open every map, and a program array that is
opened just while its last owner lets go of it is never freed (prog_array_map_clear of kernel/bpf/arraymap.c takes a
reference for work that is queued already).
"""

import ctypes
import os
import re
import threading
from contextlib import suppress
from pathlib import Path

from rover_bpf.syscalls import bpf

Objects = dict[str, dict[int, set[int]]]
_NEXT_ID = {"prog": 11, "map": 12, "link": 31}
"""BPF_PROG_GET_NEXT_ID and so on, of enum bpf_cmd."""
_PROGRAM_BY_ID, _INFO = 13, 15
_MOST_MAPS = 256
_HELD = re.compile(r"^(prog|map|link)_id:\s*(\d+)", re.MULTILINE)


class _ById(ctypes.Structure):
    _fields_ = (("start", ctypes.c_uint32), ("next", ctypes.c_uint32), ("flags", ctypes.c_uint32))


class _Query(ctypes.Structure):
    _fields_ = (("fd", ctypes.c_uint32), ("size", ctypes.c_uint32), ("info", ctypes.c_uint64))


class _Program(ctypes.Structure):
    """struct bpf_prog_info of include/uapi/linux/bpf.h, as far as map_ids."""

    _fields_ = (("unused", ctypes.c_uint8 * 52), ("count", ctypes.c_uint32), ("map_ids", ctypes.c_uint64))


def ebpf_objects() -> Objects:
    """Of the host: kind -> id -> processes that have a descriptor of it, or of a program that uses it."""
    found: Objects = {kind: {at: set() for at in _ids(command)} for kind, command in _NEXT_ID.items()}
    for descriptor in Path("/proc").glob("[0-9]*/fdinfo/*"):
        with suppress(OSError):  # it has been closed
            for kind, number in _HELD.findall(descriptor.read_text()):
                found[kind].setdefault(int(number), set()).add(int(descriptor.parts[2]))
    for program, holders in found["prog"].items():
        for used in _maps_of(program):
            found["map"].setdefault(used, set()).update(holders)
    return found


def _maps_of(program: int) -> list[int]:
    ids = (ctypes.c_uint32 * _MOST_MAPS)()
    info = _Program(count=_MOST_MAPS, map_ids=ctypes.addressof(ids))
    with suppress(FileNotFoundError):  # it has been let go
        descriptor = bpf(_PROGRAM_BY_ID, _ById(program))
        try:
            bpf(_INFO, _Query(descriptor, ctypes.sizeof(info), ctypes.addressof(info)))
        finally:
            os.close(descriptor)
        return list(ids[: info.count])
    return []


def _ids(command: int) -> list[int]:
    ids: list[int] = []
    query = _ById()
    while True:
        try:
            bpf(command, query)
        except FileNotFoundError:
            return ids
        ids.append(query.next)
        query.start = query.next


def left_since(before: Objects) -> Objects:
    """Objects that came since then and that no living process holds: others may work with eBPF here, too."""
    left = {
        kind: {at: held for at, held in ids.items() if at not in before[kind] and not held}
        for kind, ids in ebpf_objects().items()
    }
    return {kind: ids for kind, ids in left.items() if ids}


def holdings() -> dict[str, int]:
    """How many of each this process has."""
    ours = {kind: sum(os.getpid() in held for held in ids.values()) for kind, ids in ebpf_objects().items()}
    return {**ours, "descriptor": len(os.listdir("/proc/self/fd")), "thread": threading.active_count()}


def resident_kb(pid: int | str = "self") -> int:
    """Memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])
