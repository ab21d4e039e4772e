"""The beginning of what a compressed packet holds, however much it would become.

https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_compression.html
"""

import zlib

import zstandard

COMPRESSED_HEADER = 7
COMPRESSED_HEAD = 32_768
"""Bytes of a compressed packet that are unpacked."""

UNPACKED = 131_072
_WINDOW = 1 << 24  # bytes; as large as what one packet holds, which the highest levels make use of
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def unpack(data: bytes, size: int, most: int = UNPACKED) -> bytes:
    """The first bytes of what a compressed packet holds. data: behind its header; its beginning will do.

    size: as the header says it; 0 if the packet is not compressed after all, whose data are returned. most: of what
    is unpacked. Empty for what cannot be unpacked.
    """
    if not size:
        return data
    most = min(size, most)
    try:
        if data.startswith(_ZSTD_MAGIC):
            return zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(data).read(most)
        return zlib.decompressobj().decompress(data, most)
    except (zlib.error, zstandard.ZstdError):
        return b""
