"""The layout of what the rings hold: struct rover_record of rover/capture.h. Standard library only."""

import struct
from typing import NamedTuple

RECORD = struct.Struct("<IIQQQQQQIBBBB")
"""In front of the data."""
END, DATAGRAM, NOTE = 1, 2, 4
"""Bits of `event`: the connection is over; it is one of UDP; a note of the fast path is in the place of data. Those
above are the stream's generation."""
SAID = struct.Struct("<QQQII")
"""A note: struct rover_said of rover/fastmaps.h."""
PLACE, ASKED, ANSWERED, TEACH = 1, 2, 4, 8
"""Bits of `Said.note`."""


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
