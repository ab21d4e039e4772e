"""Packets of MySQL's protocol as clients and servers write them."""

import struct
import zlib

CAPABILITIES = 0x022EA285 & ~0x800 & ~0x20  # protocol 4.1, transactions, plugins, several statements
DEPRECATE_EOF = 1 << 24
COMPRESS = 0x20
MORE = 0x0008


def packet(sequence: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([sequence]) + payload


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return (bytes([len(raw)]) if len(raw) < 251 else b"\xfc" + struct.pack("<H", len(raw))) + raw


def command(kind: int, body: bytes = b"") -> bytes:
    return packet(0, bytes([kind]) + body)


def query(statement: str) -> bytes:
    return command(3, statement.encode())


def greeting() -> bytes:
    return packet(0, b"\x0a8.0.36\0" + b"\x09\0\0\0" + b"saltsalt\0" + b"\xff" * 12 + b"\0" * 10 + b"mysql_native\0")


def login(flags: int = CAPABILITIES, sequence: int = 1) -> bytes:
    head = struct.pack("<IIB", flags, 1 << 24, 45) + bytes(23)
    return packet(sequence, head + b"app\0" + text(b"\x01" * 20) + b"shop\0" + b"mysql_native_password\0")


def ok(sequence: int = 1, affected: int = 0, status: int = 2, head: int = 0, tail: bytes = b"") -> bytes:
    return packet(sequence, bytes([head, affected, 0]) + struct.pack("<HH", status, 0) + tail)


def error(code: int, state: str, sequence: int = 1) -> bytes:
    return packet(sequence, b"\xff" + struct.pack("<H", code) + b"#" + state.encode() + b"Something with 'a value'")


def eof(sequence: int, status: int = 2) -> bytes:
    return packet(sequence, b"\xfe" + struct.pack("<HH", 0, status))


def column(sequence: int, name: str = "id") -> bytes:
    body = b"".join(text(each) for each in ("def", "shop", "t", "t", name, name))
    return packet(sequence, body + b"\x0c" + struct.pack("<HIBHB", 45, 11, 3, 0, 0) + b"\0\0")


def result_set(
    *rows: bytes, columns: int = 1, has_eof: bool = True, first: int = 1, status: int = 2, cursor: bool = False
) -> bytes:
    """rows: payloads. first: the first packet's number."""
    parts = [packet(first, bytes([columns]))]
    parts += [column(first + 1 + each) for each in range(columns)]
    number = first + 1 + columns
    if has_eof:
        parts.append(eof(number, status | 0x40 if cursor else status))
        number += 1
    if not cursor:
        parts += [packet(number + at, row) for at, row in enumerate(rows)]
        number += len(rows)
        parts.append(eof(number, status) if has_eof else ok(number, status=status, head=0xFE))
    return b"".join(parts)


def prepared(statement: int, columns: int, params: int, has_eof: bool = True) -> bytes:
    parts = [packet(1, b"\0" + struct.pack("<IHHBH", statement, columns, params, 0, 0))]
    number = 2
    for count in (params, columns):
        parts += [column(number + at, "?") for at in range(count)]
        number += count
        if count and has_eof:
            parts.append(eof(number))
            number += 1
    return b"".join(parts)


def execute(statement: int, values: bytes = b"\0\1\x03\0\x2a\0\0\0") -> bytes:
    return command(0x17, struct.pack("<IBI", statement, 0, 1) + values)


def compressed(sequence: int, data: bytes, squeeze: bool = True) -> bytes:
    body = zlib.compress(data) if squeeze else data
    return (
        len(body).to_bytes(3, "little")
        + bytes([sequence])
        + (len(data) if squeeze else 0).to_bytes(3, "little")
        + body
    )
