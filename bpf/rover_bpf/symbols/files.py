"""Reading files whose content, or even whose name, a stranger controls."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

Read = Callable[[int, int], bytes]
"""`read(offset, size)`: up to `size` bytes from there, fewer where the file ends, none beyond it."""

FileId = tuple[int, int, int, int]
"""st_dev, st_ino, st_size and st_mtime_ns: the same four mean the same content."""


def file_id(status: os.stat_result) -> FileId:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def open_regular(path: str | Path, *, follow: bool = True) -> int:
    """A descriptor for reading, or OSError if there is no regular file of that name that may be read.

    Opened by O_PATH first: to open a FIFO would block, and to open some devices does something. Not mapped by
    anyone: a mapped file that its owner truncates would kill the reader with SIGBUS.
    """
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{path} is not a regular file")
        return os.open(f"/proc/self/fd/{handle}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(handle)


def reader(descriptor: int) -> Read:
    """Positioned reads of an open file."""

    def read(offset: int, size: int) -> bytes:
        # pread takes a signed 64-bit offset; headers of a hostile file may say more.
        return os.pread(descriptor, size, offset) if 0 <= offset < 1 << 62 else b""

    return read


def reader_of(content: bytes | bytearray) -> Read:
    """The same over bytes in memory."""
    return lambda offset, size: bytes(content[offset : offset + size]) if offset >= 0 else b""
