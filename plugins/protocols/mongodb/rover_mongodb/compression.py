"""The beginning of what a compressed message holds, however little of it is there, and however much it would become.

Who decompresses whole messages needs all their bytes, which are not captured, and as much memory as a stranger says.
"""

import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

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


_COMPRESSORS: dict[int, Callable[[bytes, int], bytes]] = {
    0: lambda data, most: data[:most],
    1: snappy,
    2: _zlib,
    3: _zstd,
}
