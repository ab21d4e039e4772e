"""The outer frames of v5 (native_protocol_v5.spec, section 2): a header with a checksum, envelopes, a checksum."""

import zlib
from typing import NamedTuple

LONGEST = (1 << 17) - 1
HEADER, COMPRESSED_HEADER, TRAILER = 6, 8, 4
_INITIAL, _POLYNOMIAL = 0x875060, 0x1974F0B
_SEED = zlib.crc32(b"\xfa\x2d\x55\xca")


class Frame(NamedTuple):
    """header: bytes of it. payload: bytes on the wire. plain: bytes that they become; as many if not compressed.

    contained: whole envelopes, and not a part of one.
    """

    header: int
    payload: int
    plain: int
    contained: bool
    compressed: bool

    @property
    def size(self) -> int:
        return self.header + self.payload + TRAILER


def _table() -> list[int]:
    found = []
    for byte in range(256):
        crc = byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= _POLYNOMIAL
        found.append(crc)
    return found


_TABLE = _table()


def crc24(data: bytes | bytearray, at: int, count: int) -> int:
    """Of a frame's header, with the polynomial 0x1974F0B from 0x875060 on."""
    crc = _INITIAL
    for byte in data[at : at + count]:
        crc = (crc << 8 & 0xFFFFFF) ^ _TABLE[crc >> 16 ^ byte]
    return crc


def frame_at(data: bytes | bytearray, at: int) -> Frame | None:
    """The frame that certainly begins there, of which eight bytes are there; None if there is none."""
    if data[at + 2] < 4 and crc24(data, at, 3) == int.from_bytes(data[at + 3 : at + 6], "little"):
        bits = int.from_bytes(data[at : at + 3], "little")
        length = bits & LONGEST
        return Frame(HEADER, length, length, bool(bits >> 17 & 1), False) if length else None
    if data[at + 4] < 8 and crc24(data, at, 5) == int.from_bytes(data[at + 5 : at + 8], "little"):
        bits = int.from_bytes(data[at : at + 5], "little")
        length, plain = bits & LONGEST, bits >> 17 & LONGEST
        return (
            Frame(COMPRESSED_HEADER, length, plain or length, bool(bits >> 34 & 1), bool(plain)) if length else None
        )
    return None


def intact(payload: bytes, trailer: bytes | bytearray) -> bool:
    """Whether a payload is what its checksum says."""
    return zlib.crc32(payload, _SEED) == int.from_bytes(trailer, "little")
