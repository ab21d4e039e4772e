"""The layout of what the rings hold: struct rover_record of rover/capture.h. Standard library only."""

import struct
from typing import NamedTuple

RECORD = struct.Struct("<IIQQQQQQIBBBB")
"""In front of the data."""
END, DATAGRAM = 1, 2
"""Bits of `event`: the connection is over; it is one of UDP. Those above are the stream's generation."""


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
