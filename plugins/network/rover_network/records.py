"""The layout of what the rings hold: struct rover_record of rover/capture.h. Standard library only."""

import struct
from typing import NamedTuple

RECORD = struct.Struct("<IIQQQQQQIBBBB")
"""In front of the data."""
END, DATAGRAM, RUNS = 1, 2, 4
"""Bits of `event`: the connection is over; it is one of UDP; the data are runs. Above: the stream's generation."""

_RUN = struct.Struct("<II")


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


def runs(view: memoryview) -> tuple[list[tuple[bytes, int]], int]:
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
