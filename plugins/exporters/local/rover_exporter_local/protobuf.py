"""Just enough of the protocol buffer wire format to write one flat message.

Source: https://protobuf.dev/programming-guides/encoding/. A field is a tag (number and wire type) and a value; of
the wire types only varint (0) and length-delimited (2) are needed.
"""

from collections.abc import Iterable

_VARINT = 0
_LENGTH_DELIMITED = 2
_UINT64 = (1 << 64) - 1


def varint(number: int) -> bytes:
    """Seven bits a byte, least significant first. A negative int64 is its two's complement: always ten bytes."""
    number &= _UINT64
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def integer(field: int, number: int) -> bytes:
    """An integer field; nothing at all for 0, which is what a reader assumes of an absent field."""
    return _tag(field, _VARINT) + varint(number) if number else b""


def message(field: int, *parts: bytes) -> bytes:
    """A nested message, given as its encoded fields."""
    return delimited(field, b"".join(parts))


def delimited(field: int, content: bytes) -> bytes:
    """A string, bytes or nested message field, written even when empty."""
    return _tag(field, _LENGTH_DELIMITED) + varint(len(content)) + content


def packed(field: int, numbers: Iterable[int]) -> bytes:
    """A repeated integer field in its packed form: zeros are kept, they are positions."""
    content = b"".join(map(varint, numbers))
    return delimited(field, content) if content else b""


def _tag(field: int, wire_type: int) -> bytes:
    return varint(field << 3 | wire_type)
