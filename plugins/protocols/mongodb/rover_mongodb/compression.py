"""The beginning of what a compressed message holds, however little of it is there, and however much it would become.

Who decompresses whole messages needs all their bytes, which are not captured, and as much memory as a stranger says.
"""

import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

_WINDOW = 1 << 23  # bytes; RFC 8878 section 3.1.1.1.2 asks decoders for as many


def beginning(compressor: int, data: bytes, most: int) -> bytes:
    """At most so many bytes; fewer where the data end or make no sense. compressor: of OP_COMPRESSED."""
    decompress = _COMPRESSORS.get(compressor)
    return decompress(data, most) if decompress else b""


def _zlib(data: bytes, most: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, most)
    except zlib.error:
        return b""


def _zstd(data: bytes, most: int) -> bytes:
    error, decompressor = _zstandard()
    try:
        with decompressor.stream_reader(data) as reader:
            return bytes(reader.read(most))
    except error:
        return b""


@lru_cache(maxsize=1)
def _zstandard() -> tuple[type[Exception], Any]:
    """Loaded with the first message that needs it."""
    import zstandard

    return zstandard.ZstdError, zstandard.ZstdDecompressor(max_window_size=_WINDOW)


def _snappy(data: bytes, most: int) -> bytes:
    """Snappy's raw format (google/snappy, format_description.txt): copies of what is out already, and literals."""
    out = bytearray()
    at = 0
    while at < len(data) and data[at] & 0x80:  # the length of it all, which is somebody's claim
        at += 1
    at += 1
    size = len(data)
    while at < size and len(out) < most:
        tag = data[at]
        kind = tag & 3
        length = (tag >> 2) + 1
        if kind == 0:
            more = max(0, length - 60)
            if more:
                length = int.from_bytes(data[at + 1 : at + 1 + more], "little") + 1
            at += 1 + more
            out += data[at : at + min(length, most)]
            at += length
            continue
        wide = (0, 1, 2, 4)[kind]
        offset = int.from_bytes(data[at + 1 : at + 1 + wide], "little")
        if kind == 1:
            length = (tag >> 2 & 7) + 4
            offset |= tag >> 5 << 8
        at += 1 + wide
        if at > size or not 0 < offset <= len(out):
            break
        if offset >= length:
            out += out[-offset : len(out) - offset + length]
        else:  # what it copies is being written
            out += (out[-offset:] * (length // offset + 1))[:length]
    return bytes(out[:most])


_COMPRESSORS: dict[int, Callable[[bytes, int], bytes]] = {
    0: lambda data, most: data[:most],
    1: _snappy,
    2: _zlib,
    3: _zstd,
}
