"""Walks over BSON documents (bsonspec.org) that may be cut anywhere: keys, and where values lie."""

import struct
from collections.abc import Iterator

INT32 = struct.Struct("<i")
_INT64 = struct.Struct("<q")
_DOUBLE = struct.Struct("<d")

DOUBLE, STRING, DOCUMENT, ARRAY, BINARY, BOOLEAN, INT, LONG = 1, 2, 3, 4, 5, 8, 16, 18
_REGEX, _POINTER = 11, 12
_FIXED = {1: 8, 6: 0, 7: 12, 8: 1, 9: 8, 10: 0, 16: 4, 17: 8, 18: 8, 19: 16, 127: 0, 255: 0}
_BEHIND_LENGTH = {2: 4, 3: 0, 4: 0, 5: 5, 12: 16, 13: 4, 14: 4, 15: 0}
"""What a value has beside the bytes that its length counts."""

TYPES = frozenset((*_FIXED, *_BEHIND_LENGTH, _REGEX))
LEAST = 5
"""Bytes of an empty document."""

_ELEMENTS = 128
"""Of a document that are looked at: commands and replies have a few dozen."""

Element = tuple[int, bytes, int, int]
"""Type, key, index of the value and index behind it, which may lie behind what is there."""


def elements(data: bytes, at: int, end: int) -> Iterator[Element]:
    """The elements of the document that begins at `at`, as far as it is there (`end`) and makes sense."""
    if at + 4 > end:
        return
    end = min(end, at + INT32.unpack_from(data, at)[0])
    at += 4
    find, length_at = data.find, INT32.unpack_from
    for _ in range(_ELEMENTS):
        if at >= end or (kind := data[at]) == 0:
            return
        zero = find(b"\0", at + 1, end)
        if zero < 0:
            return
        value = zero + 1
        size = _FIXED.get(kind)
        if size is None:
            more = _BEHIND_LENGTH.get(kind)
            if more is None:
                size = _strings(data, value, end) if kind == _REGEX else -1
            elif value + 4 <= end:
                size = length_at(data, value)[0] + more
            else:
                size = -1
            if size < 0:
                return
        behind = value + size
        yield kind, data[at + 1 : zero], value, behind
        at = behind


def _strings(data: bytes, at: int, end: int) -> int:
    """Bytes of the two strings of a regular expression; -1 if they are not there."""
    pattern = data.find(b"\0", at, end)
    options = data.find(b"\0", pattern + 1, end) if pattern >= 0 else -1
    return options + 1 - at if options >= 0 else -1


def number(data: bytes, kind: int, at: int, end: int) -> int | None:
    """A numeric value, rounded; None if it is none or cut."""
    size = _FIXED.get(kind, 0)
    if at + size > end:
        return None
    match kind:
        case 1:
            value = _DOUBLE.unpack_from(data, at)[0]
            return int(value) if abs(value) < 1 << 53 else None
        case 16:
            return int(INT32.unpack_from(data, at)[0])
        case 18:
            return int(_INT64.unpack_from(data, at)[0])
        case 8:
            return data[at]
        case _:
            return None


def text(data: bytes, kind: int, at: int, end: int, longest: int = 255) -> str:
    """A string value; empty if it is none, cut or too long."""
    if kind != STRING or at + 4 > end:
        return ""
    length = INT32.unpack_from(data, at)[0]
    if not 1 <= length <= longest or at + 4 + length > end:
        return ""
    return data[at + 4 : at + 3 + length].decode("utf-8", "replace")
