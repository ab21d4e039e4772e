"""Header blocks (RFC 7541), read by somebody who may have missed some of them.

A block refers to fields of earlier blocks by how many have been added since. So of a connection joined in the middle,
all that was added after is known, and what is older is not: it is read as UNKNOWN.
"""

from collections.abc import Container

from rover_http2.huffman import decode

Field = tuple[str, str]
"""Name and value."""

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
"""Stands for names and values from before the connection was joined, or from what was lost. No string has it."""

STATIC: tuple[Field, ...] = (
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
    ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
    ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
    ("www-authenticate", ""),
)  # fmt: skip
"""Appendix A; the first is number 1."""

_STATIC = (("", ""), *STATIC)
_FIRST_DYNAMIC = len(_STATIC)
_OVERHEAD = 32  # of a field in a table (section 4.1)
_DEFAULT_TABLE = 4096
_MOST_SHIFT = 28
_UNKNOWN_FIELD = (UNKNOWN, UNKNOWN)

LARGEST_TABLE = 65_536
"""Bytes of a table that is kept. Of what somebody keeps in a larger one the oldest is UNKNOWN."""
MOST_FIELDS = 256
"""Fields of a block that are returned. Bytes of a block may stand for a long field each, but no memory."""


class Decoder:
    """One direction's. The table may hold less than the sender's, never anything else; what is missing is UNKNOWN.

    wanted: names of the fields to return, UNKNOWN among them; None for all. Of the others only what later blocks may
    refer to is read.
    """

    __slots__ = ("_fields", "_room", "_size", "_wanted")

    def __init__(self, wanted: Container[str] | None = None) -> None:
        self._wanted = wanted
        self._fields: list[Field] = []  # the newest is the last
        self._size = 0
        self._room = _DEFAULT_TABLE

    def forget(self) -> None:
        """Blocks were missed. Fields are dropped later than by the sender from here on, which hurts nobody."""
        self._fields.clear()
        self._size = 0
        self._room = LARGEST_TABLE

    def decode(self, block: bytes) -> tuple[list[Field], bool]:
        """Its fields, the first in any case, and whether all of them are known.

        ValueError where it is none: then `forget`.
        """
        try:
            return self._decode(block)
        except IndexError:
            raise ValueError("a block ends in the middle of a field") from None

    def _decode(self, block: bytes) -> tuple[list[Field], bool]:
        found: list[Field] = []
        wanted = self._wanted
        at, end, whole = 0, len(block), True
        while at < end:
            byte = block[at]
            at += 1
            if byte & 0x80:
                index = byte & 0x7F
                if index == 0x7F:
                    index, at = _integer(block, at, index)
                field = _STATIC[index] if 0 < index < _FIRST_DYNAMIC else self._field(index)
                name = field[0]
            elif byte & 0x60 == 0x20:
                size = byte & 0x1F
                if size == 0x1F:
                    size, at = _integer(block, at, size)
                self._room = min(size, LARGEST_TABLE)
                self._evict()
                continue
            else:
                most = 0x3F if byte & 0x40 else 0x0F
                index = byte & most
                if index == most:
                    index, at = _integer(block, at, index)
                if index:
                    name = self._field(index)[0]
                else:
                    name, at = _string(block, at)
                value, at = _string(block, at, byte & 0x40 or wanted is None or name in wanted)
                field = (name, value)
                if byte & 0x40:
                    self._add(field)
            if name is UNKNOWN:
                whole = False
            if (wanted is None or name in wanted or not found) and len(found) < MOST_FIELDS:
                found.append(field)
        return found, whole

    def _field(self, index: int) -> Field:
        if index < _FIRST_DYNAMIC:
            if not index:
                raise ValueError("there is no field 0")
            return _STATIC[index]
        back = index - _FIRST_DYNAMIC
        if back < len(self._fields):
            return self._fields[-1 - back]
        if back > LARGEST_TABLE:
            raise ValueError("no table has so many fields")
        return _UNKNOWN_FIELD

    def _add(self, field: Field) -> None:
        self._fields.append(field)
        self._size += _OVERHEAD + len(field[0]) + len(field[1])
        if self._size > self._room:
            self._evict()

    def _evict(self) -> None:
        dropped = 0
        while self._size > self._room:
            name, value = self._fields[dropped]
            self._size -= _OVERHEAD + len(name) + len(value)
            dropped += 1
        del self._fields[:dropped]


def _integer(block: bytes, at: int, value: int) -> tuple[int, int]:
    """What follows a prefix of ones (section 5.1), and where it ends."""
    shift = 0
    while True:
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
        if shift > _MOST_SHIFT:
            raise ValueError("an integer is too long")


def _string(block: bytes, at: int, wanted: object = True) -> tuple[str, int]:
    """The string, empty if it is not wanted, and where it ends."""
    byte = block[at]
    at += 1
    length = byte & 0x7F
    if length == 0x7F:
        length, at = _integer(block, at, length)
    end = at + length
    if end > len(block):
        raise ValueError("a block ends in the middle of a string")
    if not wanted:
        return "", end
    data = block[at:end]
    return decode(data) if byte & 0x80 else data.decode("latin-1"), end
