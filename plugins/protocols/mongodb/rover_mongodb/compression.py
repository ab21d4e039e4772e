"""The beginning of what a compressed message holds, however little of it is there, and however much it would become.

Who decompresses whole messages needs all their bytes, which are not captured, and as much memory as a stranger says.
"""

import zlib
from collections.abc import Callable

import zstandard

from rover_core.wire.blocks import snappy

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
    try:
        with zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(data) as reader:
            return bytes(reader.read(most))
    except zstandard.ZstdError:
        return b""


_COMPRESSORS: dict[int, Callable[[bytes, int], bytes]] = {
    0: lambda data, most: data[:most],
    1: snappy,
    2: _zlib,
    3: _zstd,
}
