"""Records of a message as text, as master files have them (RFC 1035 section 5, RFC 3596, RFC 2782)."""

import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from rover_dns.messages import HEAD, Bytes, Dns, Record, read_name, read_question, records
from rover_dns.numbers import type_name

_ADDRESSES = {1: (socket.AF_INET, 4), 28: (socket.AF_INET6, 16)}
_TEXTS = frozenset((16, 99))
_NAMES = {2: "", 5: "", 12: "", 39: "", 15: "!H", 33: "!3H"}
_SOA = 6
_SOA_NUMBERS = struct.Struct("!5I")


class Answer(NamedTuple):
    """ttl: s. data: `10 mx.example.org`; empty for types that are not written out here."""

    name: str
    type: str
    ttl: int
    data: str


def answers(detail: Dns, data: Bytes) -> Iterator[Answer]:
    """The answers of a message whose bytes are `data`, as many as are there."""
    at = HEAD.size
    for _ in detail.questions:
        _, at = read_question(data, at, 0, len(data))
    for record in records(data, at, len(data), detail.counts.answers):
        name, _ = read_name(data, record.name, 0, len(data))
        yield Answer(name or "", type_name(record.type), record.ttl, _text(data, record))


def _text(data: Bytes, record: Record) -> str:
    kind, start, end = record.type, record.start, record.end
    if kind in _ADDRESSES:
        family, size = _ADDRESSES[kind]
        return socket.inet_ntop(family, data[start:end]) if end - start == size else ""
    if kind in _TEXTS:
        return " ".join(_strings(data, start, end))
    if kind in _NAMES:
        numbers = struct.Struct(_NAMES[kind])
        name, _ = read_name(data, start + numbers.size, 0, end)
        return "" if name is None else " ".join((*map(str, numbers.unpack_from(data, start)), name or "."))
    return _soa(data, start, end) if kind == _SOA else ""


def _strings(data: Bytes, at: int, end: int) -> Iterator[str]:
    while at < end:
        text = bytes(data[at + 1 : min(end, at + 1 + data[at])])
        yield '"' + text.decode("utf-8", "backslashreplace").replace('"', '\\"') + '"'
        at += 1 + data[at]


def _soa(data: Bytes, start: int, end: int) -> str:
    server, at = read_name(data, start, 0, end)
    person, at = read_name(data, at, 0, end) if server is not None else (None, at)
    if person is None or at + _SOA_NUMBERS.size > end:
        return ""
    return " ".join((server or ".", person or ".", *map(str, _SOA_NUMBERS.unpack_from(data, at))))
