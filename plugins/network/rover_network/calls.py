"""Which system calls do something with sockets, and what: the table that the kernel program looks up.

Numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h. Calls of 32-bit programs on a
64-bit kernel have others, and are counted without their execution time.
"""

import platform
from collections.abc import Mapping
from enum import IntEnum

from rover_core.errors import RoverError

SYSCALLS = 512
"""Entries of the table."""


class Kind(IntEnum):
    """enum rover_kind of network.bpf.c."""

    READING = 1
    WRITING = 2
    READING_MANY = 3
    WRITING_MANY = 4
    SENDING_FILE = 5
    SPLICING = 6
    CONNECTING = 7
    ACCEPTING = 8
    CLOSING = 9
    URING = 10
    MAPPING = 12
    EXECUTING = 13
    SETTING = 14


_AT_EXIT = 0x100
_IN_ARGUMENT, _IN_HEADER, _IN_VECTOR = 0x200, 0x400, 0x800
_FLAGS_SHIFT = 12
_FLAGS = {"recvfrom": 3, "recvmsg": 2, "recvmmsg": 3}
"""Which argument, from 0, may say MSG_PEEK."""
_PLACES = {
    **dict.fromkeys(("recvfrom", "sendto"), _IN_ARGUMENT),
    **dict.fromkeys(("readv", "writev", "preadv2", "pwritev2"), _IN_VECTOR),
    **dict.fromkeys(("recvmsg", "sendmsg", "recvmmsg", "sendmmsg"), _IN_HEADER),
}
"""Where the call has the other end's address, and its data."""
_KINDS = {
    Kind.READING: ("read", "readv", "preadv2", "recvfrom", "recvmsg"),
    Kind.WRITING: ("write", "writev", "pwritev2", "sendto", "sendmsg"),
    Kind.READING_MANY: ("recvmmsg",),
    Kind.WRITING_MANY: ("sendmmsg",),
    Kind.SENDING_FILE: ("sendfile",),
    Kind.SPLICING: ("splice",),
    Kind.CONNECTING: ("connect",),
    Kind.ACCEPTING: ("accept", "accept4"),
    Kind.CLOSING: ("close",),
    Kind.URING: ("io_uring_enter",),
    Kind.MAPPING: ("mmap",),
    Kind.EXECUTING: ("execve", "execveat"),
    Kind.SETTING: ("setsockopt",),
}
_NAMES = tuple(name for names in _KINDS.values() for name in names)
_NUMBERS = {
    "x86_64": (0, 19, 327, 45, 47, 1, 20, 328, 44, 46, 299, 307, 40, 275, 42, 43, 288, 3, 426, 9, 59, 322, 54),
    "aarch64": (
        63,
        65,
        286,
        207,
        212,
        64,
        66,
        287,
        206,
        211,
        243,
        269,
        71,
        76,
        203,
        202,
        242,
        57,
        426,
        222,
        221,
        281,
        208,
    ),
}
"""In the order of _NAMES."""


def numbers() -> Mapping[str, int]:
    """Of this machine's system calls, by name. Raises RoverError if they are not known."""
    machine = platform.machine()
    if machine not in _NUMBERS:
        raise RoverError("network profiling is not possible here", why=f"nobody told Rover the calls of {machine}")
    return dict(zip(_NAMES, _NUMBERS[machine], strict=True))


def kinds(lengths: bool) -> Mapping[int, int]:
    """What the table holds: system call number -> kind and how to treat it.

    lengths: whether the kernel tells how much went through a socket (sock_send_length); if not, the end of every read
    and write has to be looked at. Raises RoverError for a machine whose numbers are not known.
    """
    known = numbers()
    return {known[name]: _entry(kind, name, lengths) for kind, names in _KINDS.items() for name in names}


def _entry(kind: Kind, name: str, lengths: bool) -> int:
    where = _PLACES.get(name, 0)
    if lengths and kind in (Kind.READING, Kind.WRITING):
        return kind | where
    flags = 0 if lengths or name not in _FLAGS else (_FLAGS[name] + 1) << _FLAGS_SHIFT
    return kind | _AT_EXIT | where | flags
