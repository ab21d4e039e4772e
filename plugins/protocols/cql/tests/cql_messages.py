"""Writes messages of CQL after its specification, without what reads them."""

import struct
import zlib
from collections.abc import Sequence

import lz4.block
import snappy

ERROR, STARTUP, READY, AUTHENTICATE, OPTIONS, SUPPORTED, QUERY, RESULT = 0, 1, 2, 3, 5, 6, 7, 8
PREPARE, EXECUTE, REGISTER, EVENT, BATCH, AUTH_CHALLENGE, AUTH_RESPONSE, AUTH_SUCCESS = range(9, 17)
_RESPONSES = (ERROR, READY, AUTHENTICATE, SUPPORTED, RESULT, EVENT, AUTH_CHALLENGE, AUTH_SUCCESS)
QUORUM = 4
ID = bytes(range(16))


def with_lz4(body: bytes) -> bytes:
    return struct.pack("!I", len(body)) + lz4.block.compress(body, store_size=False)


def envelope(
    opcode: int, stream: int, body: bytes = b"", version: int = 4, flags: int = 0, coding: str = ""
) -> bytes:
    if coding:
        flags |= 1
        body = with_lz4(body) if coding == "lz4" else snappy.compress(body)
    direction = 0x80 if opcode in _RESPONSES else 0
    return struct.pack("!BBhBI", version | direction, flags, stream, opcode, len(body)) + body


def crc24(data: bytes) -> int:
    crc = 0x875060
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1974F0B
    return crc


def frame(payload: bytes, contained: bool = True, compress: bool | None = None) -> bytes:
    """compress: None on connections without compression; False for what compression makes no smaller."""
    coded = lz4.block.compress(payload, store_size=False) if compress else payload
    if compress is None:
        head = (len(payload) | contained << 17).to_bytes(3, "little")
    else:
        head = (len(coded) | (len(payload) if compress else 0) << 17 | contained << 34).to_bytes(5, "little")
    check = zlib.crc32(coded, zlib.crc32(b"\xfa\x2d\x55\xca"))
    return head + crc24(head).to_bytes(3, "little") + coded + check.to_bytes(4, "little")


def string(text: str) -> bytes:
    return struct.pack("!H", len(text.encode())) + text.encode()


def strings(*texts: str) -> bytes:
    return b"".join(map(string, texts))


def long_string(text: str) -> bytes:
    return struct.pack("!I", len(text.encode())) + text.encode()


def value(data: bytes | None) -> bytes:
    return struct.pack("!i", -1) if data is None else struct.pack("!i", len(data)) + data


def parameters(
    values: Sequence[bytes | None] = (), *, version: int = 4, page_size: int = 0, paging: bytes = b"", serial: int = 0
) -> bytes:
    flags = (1 if values else 0) | (4 if page_size else 0) | (8 if paging else 0) | (16 if serial else 0)
    body = struct.pack("!Hi" if version >= 5 else "!HB", QUORUM, flags)
    if values:
        body += struct.pack("!H", len(values)) + b"".join(map(value, values))
    if page_size:
        body += struct.pack("!i", page_size)
    if paging:
        body += value(paging)
    return body + (struct.pack("!H", serial) if serial else b"")


def query(stream: int, text: str, version: int = 4, flags: int = 0, coding: str = "", payload: bytes = b"") -> bytes:
    body = payload + long_string(text) + parameters(version=version, page_size=5000)
    return envelope(QUERY, stream, body, version, flags, coding)


def prepare(stream: int, text: str, version: int = 4) -> bytes:
    return envelope(PREPARE, stream, long_string(text) + (bytes(4) if version >= 5 else b""), version)


def execute(
    stream: int, identity: bytes = ID, version: int = 4, values: Sequence[bytes | None] = (b"secret", None)
) -> bytes:
    of_result = struct.pack("!H", 16) + bytes(16) if version >= 5 else b""
    body = struct.pack("!H", len(identity)) + identity + of_result + parameters(values, version=version)
    return envelope(EXECUTE, stream, body, version)


def batch(stream: int, *statements: str | bytes, version: int = 4) -> bytes:
    body = struct.pack("!BH", 0, len(statements))
    for each in statements:
        text = isinstance(each, str)
        body += b"\0" + long_string(each) if isinstance(each, str) else b"\1" + struct.pack("!H", len(each)) + each
        body += struct.pack("!H", 0) if text else struct.pack("!H", 1) + value(b"secret")
    return envelope(BATCH, stream, body + parameters(version=version), version)


def startup(stream: int = 0, version: int = 4, **options: str) -> bytes:
    options = {"CQL_VERSION": "3.0.0", **options}
    body = struct.pack("!H", len(options)) + b"".join(strings(*each) for each in options.items())
    return envelope(STARTUP, stream, body, version)


def result(
    stream: int,
    kind: int = 1,
    more: bytes = b"",
    version: int = 4,
    flags: int = 0,
    coding: str = "",
    before: bytes = b"",
) -> bytes:
    return envelope(RESULT, stream, before + struct.pack("!i", kind) + more, version, flags, coding)


def rows(
    stream: int,
    *found: bytes,
    version: int = 4,
    flags: int = 0,
    coding: str = "",
    before: bytes = b"",
    paging: bytes = b"",
) -> bytes:
    """Of one column, `name` of shop.orders."""
    metadata = struct.pack("!ii", 1 | (2 if paging else 0), 1) + (value(paging) if paging else b"")
    metadata += strings("shop", "orders", "name") + struct.pack("!H", 13)
    content = struct.pack("!i", len(found)) + b"".join(map(value, found))
    return result(stream, 2, metadata + content, version, flags, coding, before)


def prepared(stream: int, identity: bytes = ID, version: int = 4) -> bytes:
    of_result = struct.pack("!H", 16) + bytes(16) if version >= 5 else b""
    return result(
        stream,
        4,
        struct.pack("!H", len(identity)) + identity + of_result + struct.pack("!iiiii", 4, 0, 0, 4, 0),
        version,
    )


def error(
    stream: int, code: int, more: bytes = b"", version: int = 4, text: str = "no viable alternative at 'secret'"
) -> bytes:
    return envelope(ERROR, stream, struct.pack("!i", code) + string(text) + more, version)


def event(*words: str, version: int = 4) -> bytes:
    return envelope(EVENT, -1, strings(*words), version)
