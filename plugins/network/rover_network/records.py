"""The layout of what the rings hold: struct rover_record of rover/capture.h. Standard library only."""

import mmap
import struct
from collections.abc import Iterable
from typing import NamedTuple

RECORD = struct.Struct("<IIQQQQQQIBBBB")
"""In front of the data."""
END, DATAGRAM, NOTE, RUNS, CALL = 1, 2, 4, 8, 16
"""Bits of `event`: the connection is over; it is one of UDP; a note of the fast path is in the place of data; the
data are runs; they are what the system call was whose data follow (details.py). Those above are the stream's
generation."""
SAID = struct.Struct("<QQQII")
"""A note: struct rover_said of rover/fastmaps.h."""
PLACE, ASKED, ANSWERED, TEACH = 1, 2, 4, 8
"""Bits of `Said.note`."""

_RUN = struct.Struct("<II")
Bytes = bytes | mmap.mmap
"""Memory that records lie in: its slices are bytes, one copy and no view between."""
Batch = tuple[Bytes, Iterable[tuple[int, int]]]
"""Where in memory each of several records begins and ends."""


class Record(NamedTuple):
    """A piece of what one call moved. inode, tgid, peer: the connection, as one process has it.

    position: of the first byte in what this side has sent (or received); other: of the next one the other way. after:
    bytes behind these that the call moved and nobody captured. began_ns, ended_ns: of the call, by CLOCK_MONOTONIC.
    """

    inode: int
    tgid: int
    peer: int
    position: int
    other: int
    began_ns: int
    ended_ns: int
    after: int
    length: int
    protocol: int
    from_server: int
    sent: int
    event: int


class Said(NamedTuple):
    """What the fast path says to the parser; `position` and `other` of its record are where the client's and the
    server's bytes go on, `began_ns` and `ended_ns` the exchange's.

    operation: the kernel's name of it. requested, responded: bytes. note: what of that is to be believed, and done.
    """

    operation: int
    requested: int
    responded: int
    status: int
    note: int


def runs(view: bytes | memoryview) -> tuple[list[tuple[bytes, int]], int]:
    """The data of a record of RUNS: bytes and how many behind them were left out; and how many in front of all."""
    found: list[tuple[bytes, int]] = []
    parts: list[bytes] = []
    at, before = 0, 0
    while at + _RUN.size <= len(view):
        skipped, length = _RUN.unpack_from(view, at)
        at += _RUN.size
        if skipped and not parts and not found:
            before += skipped
        elif skipped:
            found.append((b"".join(parts), skipped))
            parts = []
        parts.append(bytes(view[at : at + length]))
        at += length
    if parts:
        found.append((b"".join(parts), 0))
    return found, before
