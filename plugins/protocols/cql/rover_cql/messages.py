"""Messages of the CQL native protocol: the header, what a request asks, and what a response says.

Sections are those of native_protocol_v5.spec; v3 and v4 lack what is said to be v5's.
"""

import re
import struct
from functools import lru_cache
from typing import NamedTuple

from rover_cql.digest import digest

HEADER = struct.Struct("!BBhBI")  # version, flags, stream, opcode, length
LONGEST = 1 << 28  # bytes of a body, section 2.4.1.5
VERSIONS = frozenset((3, 4, 5))
V4, V5 = 4, 5
RESPONSE = 0x80
COMPRESSED, TRACING, PAYLOAD, WARNING, BETA = 1, 2, 4, 8, 16
EVENTS = -1  # the stream of events

ERROR, STARTUP, READY, AUTHENTICATE, OPTIONS, SUPPORTED, QUERY, RESULT = 0, 1, 2, 3, 5, 6, 7, 8
PREPARE, EXECUTE, REGISTER, EVENT, BATCH, AUTH_CHALLENGE, AUTH_RESPONSE, AUTH_SUCCESS = range(9, 17)
NAMES = {
    ERROR: "ERROR", STARTUP: "STARTUP", READY: "READY", AUTHENTICATE: "AUTHENTICATE", OPTIONS: "OPTIONS",
    SUPPORTED: "SUPPORTED", QUERY: "QUERY", RESULT: "RESULT", PREPARE: "PREPARE", EXECUTE: "EXECUTE",
    REGISTER: "REGISTER", EVENT: "EVENT", BATCH: "BATCH", AUTH_CHALLENGE: "AUTH_CHALLENGE",
    AUTH_RESPONSE: "AUTH_RESPONSE", AUTH_SUCCESS: "AUTH_SUCCESS",
}  # fmt: skip
REQUESTS = frozenset((STARTUP, OPTIONS, QUERY, PREPARE, EXECUTE, REGISTER, BATCH, AUTH_RESPONSE))
RESPONSES = frozenset(NAMES) - REQUESTS
UNFRAMED = frozenset((STARTUP, OPTIONS, ERROR, READY, AUTHENTICATE, SUPPORTED))
"""What v5 says before its frames begin (section 2.3.1)."""

VOID, ROWS, SET_KEYSPACE, PREPARED, SCHEMA_CHANGE = range(1, 6)
CONSISTENCIES = (
    "ANY", "ONE", "TWO", "THREE", "QUORUM", "ALL", "LOCAL_QUORUM", "EACH_QUORUM", "SERIAL", "LOCAL_SERIAL",
    "LOCAL_ONE",
)  # fmt: skip
ERRORS = {
    0x0000: "SERVER_ERROR", 0x000A: "PROTOCOL_ERROR", 0x0100: "BAD_CREDENTIALS", 0x1000: "UNAVAILABLE",
    0x1001: "OVERLOADED", 0x1002: "IS_BOOTSTRAPPING", 0x1003: "TRUNCATE_ERROR", 0x1100: "WRITE_TIMEOUT",
    0x1200: "READ_TIMEOUT", 0x1300: "READ_FAILURE", 0x1400: "FUNCTION_FAILURE", 0x1500: "WRITE_FAILURE",
    0x1600: "CDC_WRITE_FAILURE", 0x1700: "CAS_WRITE_UNKNOWN", 0x2000: "SYNTAX_ERROR", 0x2100: "UNAUTHORIZED",
    0x2200: "INVALID", 0x2300: "CONFIG_ERROR", 0x2400: "ALREADY_EXISTS", 0x2500: "UNPREPARED",
}  # fmt: skip
"""As org.apache.cassandra.exceptions.ExceptionCode has them."""

LOOKED_AT = 4096
"""Bytes of a body that are looked at."""
_STATEMENT = 4000
_STATEMENTS = 3
_VALUES, _PAGE_SIZE, _PAGING, _SERIAL, _TIMESTAMP, _NAMES = 1, 4, 8, 16, 32, 64
_GLOBAL, _MORE, _NO_METADATA, _NEW_METADATA = 1, 2, 4, 8
_REPLICAS = frozenset((0x1000, 0x1100, 0x1200, 0x1300, 0x1500, 0x1700))
"""Errors that say how many replicas answered and how many should."""

_COMPOSED = 0x20
"""Types from here on are made of others; 0 is one by name."""

_CONTROL = re.compile(rb"[^\t-\r -~]")
_INT = struct.Struct("!i")
_PAIR = struct.Struct("!ii")
_LEVEL = struct.Struct("!Hii")  # consistency, and numbers of replicas


class Nonsense(ValueError):  # noqa: N818 - no error of ours
    """A body that no message of its opcode has."""


class Header(NamedTuple):
    """version: without the direction's bit. length: of the body."""

    version: int
    flags: int
    stream: int
    opcode: int
    length: int


class Request(NamedTuple):
    """What a client asks. Nothing of its values is kept.

    statements: without literals as text, prepared ones as their ids; of a batch the first few that differ. number: of
    statements. values: that are bound. consistency, serial: names of levels; empty where there are none. page_size:
    rows asked for; 0 for all. continued: a further page. words: of STARTUP its options, of REGISTER its events.
    """

    version: int
    stream: int
    opcode: int
    flags: int = 0
    statements: tuple[str | bytes, ...] = ()
    number: int = 0
    values: int = 0
    consistency: str = ""
    serial: str = ""
    page_size: int = 0
    continued: bool = False
    words: tuple[str, ...] = ()


class Response(NamedTuple):
    """What a server says. Of an error's text nothing is kept: it cites values.

    kind: of a RESULT, else 0. code: of an ERROR, else None. rows, columns: None where they were not seen. more:
    further pages are left. prepared: the id. consistency, received, required: of errors that are about replicas.
    words: what changed, which event, which write failed. warnings: how many.
    """

    version: int
    stream: int
    opcode: int
    flags: int = 0
    kind: int = 0
    code: int | None = None
    rows: int | None = None
    columns: int | None = None
    more: bool = False
    keyspace: str = ""
    table: str = ""
    prepared: bytes = b""
    consistency: str = ""
    received: int = 0
    required: int = 0
    words: tuple[str, ...] = ()
    warnings: int = 0


class _Cut(IndexError):  # noqa: N818 - nor this
    """The body goes on behind what is there."""


_BEYOND = (IndexError, struct.error)
"""The same, found by who reads there."""


def header_at(data: bytes | bytearray, at: int, answering: bool) -> Header | None:
    """The header that begins there, of which there is enough; None if it is none of that direction."""
    version, flags, stream, opcode, length = HEADER.unpack_from(data, at)
    if answering:
        if version < RESPONSE or opcode not in RESPONSES:
            return None
        version -= RESPONSE
    elif opcode not in REQUESTS or stream < 0:
        return None
    if version not in VERSIONS or flags >= 32 or length > LONGEST:
        return None
    return Header(version, flags, stream, opcode, length)


def request_of(header: Header, data: bytes, whole: bool) -> tuple[Request, bool]:
    """What a request asks, of as much of its body as there is; and whether that says it. Nonsense if nothing may.

    data: the body's beginning, decompressed. whole: it is all of it.
    """
    version, flags, stream, opcode, length = header
    statements: tuple[bytes, ...] = ()
    words: tuple[str, ...] = ()
    try:
        at = _payload(data, 0) if flags & PAYLOAD and version >= V4 else 0
        if opcode in (QUERY, PREPARE):
            return _statement(header, data, at, whole)
        if opcode == EXECUTE:
            prepared, at = _short_bytes(data, at)
            statements = (prepared,)
            if version == V5:
                _, at = _short_bytes(data, at)  # of the result's metadata
            return _parameters(header, statements, data, at, whole)
        if opcode == BATCH:
            return _batch(header, data, at, whole)
        if opcode == AUTH_RESPONSE:
            _token(data, at, length)
        elif opcode == OPTIONS:
            if length:
                raise Nonsense
        else:
            words = _map(data, at) if opcode == STARTUP else _list(data, at)
    except _BEYOND:
        if whole:
            raise Nonsense from None
        certain = bool(statements) or opcode in (OPTIONS, AUTH_RESPONSE)
        return Request(version, stream, opcode, flags, statements, len(statements)), certain
    return Request(version, stream, opcode, flags, words=words), True


def response_of(header: Header, data: bytes, whole: bool) -> tuple[Response, bool]:
    """As `request_of`, of a response."""
    version, flags, stream, opcode, length = header
    at = warnings = 0
    response = Response(version, stream, opcode, flags)
    try:
        if flags & (TRACING | WARNING | PAYLOAD):
            at, warnings = _before(data, flags, version)
            response = response._replace(warnings=warnings)
        if opcode == RESULT:
            kind = _int(data, at)
            if kind == ROWS:
                return _rows(header, data, at + 4, warnings), True
            return _result(response._replace(kind=kind), data, at + 4, whole)
        if opcode == ERROR:
            return _error(response, data, at, whole)
        if opcode == EVENT:
            if stream != EVENTS:
                raise Nonsense
            words, _ = _strings(data, at, 2)
            return response._replace(words=words), True
        if opcode == READY:
            if at != length and not flags & COMPRESSED:
                raise Nonsense
        elif opcode == AUTHENTICATE:
            word, at = _string(data, at)
            response = response._replace(words=(word,))
        elif opcode == SUPPORTED:
            _string(data, at + 2)
        else:
            _token(data, at, length)
    except _BEYOND:
        if whole:
            raise Nonsense from None
        return response, opcode in (READY, AUTH_CHALLENGE, AUTH_SUCCESS)
    return response, True


def _statement(header: Header, data: bytes, at: int, whole: bool) -> tuple[Request, bool]:
    text, at, seen = _long_string(data, at, whole)
    version, flags, stream, opcode, _ = header
    if not seen or opcode == PREPARE:  # flags and keyspace of v5 tell nothing more
        return Request(version, stream, opcode, flags, (text,), 1), seen
    return _parameters(header, (text,), data, at, whole)


def _parameters(
    header: Header, statements: tuple[str | bytes, ...], data: bytes, at: int, whole: bool
) -> tuple[Request, bool]:
    """Section 4.1.4. What is cut off is missing, without harm."""
    version, about, stream, opcode, _ = header
    level, flags, at = _level(data, at, version, whole)
    values = 0
    serial, page_size = "", 0
    try:
        if flags & _VALUES:
            values, at = _values(data, at, bool(flags & _NAMES))
        if flags & _PAGE_SIZE:
            page_size, at = _int(data, at), at + 4
        if flags & _SERIAL:
            if flags & _PAGING:
                at += 4 + max(0, _int(data, at))
            serial = _consistency(_short(data, at))
    except _BEYOND:
        if whole:
            raise Nonsense from None
    more = bool(flags & _PAGING)
    found = Request(version, stream, opcode, about, statements, 1, values, level, serial, max(0, page_size), more)
    return found, True


def _batch(header: Header, data: bytes, at: int, whole: bool) -> tuple[Request, bool]:
    """Section 4.1.7. Certain as soon as so many statements are known as are told."""
    if len(data) < at + 3:
        raise _Cut
    kind, count = data[at], _short(data, at + 1)
    if kind > 2:
        raise Nonsense
    at += 3
    found: list[str | bytes] = []
    values = 0
    level, seen = "", True
    try:
        for _ in range(count):
            if at >= len(data):
                raise _Cut
            statement: str | bytes
            if data[at] == 0:
                statement, at, seen = _long_string(data, at + 1, whole)
            elif data[at] == 1:
                statement, at = _short_bytes(data, at + 1)
            else:
                raise Nonsense
            if statement not in found and len(found) < _STATEMENTS:
                found.append(statement)
            if not seen:
                raise _Cut
            bound, at = _values(data, at, False)
            values += bound
        level, _, at = _level(data, at, header.version, whole)
    except _BEYOND:
        if whole:
            raise Nonsense from None
        seen = seen and len(found) == _STATEMENTS
    version, flags, stream, opcode, _ = header
    return Request(version, stream, opcode, flags, tuple(found), count, values, level), seen


def _level(data: bytes, at: int, version: int, whole: bool) -> tuple[str, int, int]:
    """Consistency, flags, and the index behind them; an empty name if they were cut off."""
    size = 6 if version == V5 else 3
    if len(data) < at + size:
        if whole:
            raise Nonsense
        return "", 0, at
    flags = _INT.unpack_from(data, at + 2)[0] if size == 6 else data[at + 2]
    return _consistency(_short(data, at)), flags, at + size


def _result(response: Response, data: bytes, at: int, whole: bool) -> tuple[Response, bool]:
    kind = response.kind
    if not VOID <= kind <= SCHEMA_CHANGE:
        raise Nonsense
    try:
        if kind == SET_KEYSPACE:
            keyspace, _ = _string(data, at)
            return response._replace(keyspace=keyspace), True
        if kind == PREPARED:
            prepared, _ = _short_bytes(data, at)
            return response._replace(prepared=prepared), True
        if kind == SCHEMA_CHANGE:
            words, at = _strings(data, at, 3)
            if words[1] != "KEYSPACE":
                name, _ = _string(data, at)
                words = (*words, name)
            return response._replace(words=words), True
    except _BEYOND:
        if whole:
            raise Nonsense from None
        return response, kind != PREPARED
    return response, True


def _rows(header: Header, data: bytes, at: int, warnings: int) -> Response:
    """Metadata and the number of rows (section 4.2.5.2); without the number if it lies too far behind."""
    rows = columns = None
    more = False
    keyspace = table = ""
    try:
        flags, columns = _PAIR.unpack_from(data, at)
        if not 0 <= flags < 1 << 16 or not 0 <= columns < 1 << 16:
            raise Nonsense
        more = bool(flags & _MORE)
        at += 8
        if more:
            at += 4 + max(0, _int(data, at))
        if flags & _NEW_METADATA:
            _, at = _short_bytes(data, at)
        if not flags & _NO_METADATA:
            if flags & _GLOBAL:
                keyspace, at = _string(data, at)
                table, at = _string(data, at)
            at = _columns(data, at, columns, not flags & _GLOBAL)
        rows = _int(data, at)
        if rows < 0:
            raise Nonsense
    except _BEYOND:
        pass
    version, about, stream, opcode, _ = header
    return Response(
        version, stream, opcode, about, ROWS, None, rows, columns, more, keyspace, table, warnings=warnings
    )


def _columns(data: bytes, at: int, count: int, named: bool) -> int:
    """Index behind the columns. named: each has the names of its keyspace and table."""
    names = range(3 if named else 1)
    for _ in range(count):
        for _ in names:
            at += 2 + (data[at] << 8 | data[at + 1])
        at = at + 2 if 0 < (data[at] << 8 | data[at + 1]) < _COMPOSED else _type(data, at, 0)
    return at


def _type(data: bytes, at: int, depth: int) -> int:
    """Index behind a type. Those inside each other are Cassandra's, and few."""
    kind = _short(data, at)
    at += 2
    if 0 < kind < _COMPOSED:
        return at
    if depth > 8:
        raise _Cut
    if kind == 0:
        return _string(data, at)[1]
    if kind == 0x30:
        _, at = _strings(data, at, 2)
    parts = {0x20: 1, 0x21: 2, 0x22: 1}.get(kind)
    if parts is None:
        if kind not in (0x30, 0x31):
            raise Nonsense
        parts, at = _short(data, at), at + 2
    for _ in range(parts):
        if kind == 0x30:
            _, at = _string(data, at)
        at = _type(data, at, depth + 1)
    return at


def _error(response: Response, data: bytes, at: int, whole: bool) -> tuple[Response, bool]:
    """Section 9: a code, a text, and what is behind it."""
    code = _int(data, at)
    if code not in ERRORS:
        raise Nonsense
    response = response._replace(code=code)
    try:
        at += 6 + _short(data, at + 4)
        if code in _REPLICAS:
            level, first, second = _LEVEL.unpack_from(data, at)
            received, required = (second, first) if code == 0x1000 else (first, second)
            words: tuple[str, ...] = ()
            if code == 0x1100:
                words = (_string(data, at + 10)[0],)
            return response._replace(
                consistency=_consistency(level), received=received, required=required, words=words
            ), True
        if code == 0x2400:
            words, _ = _strings(data, at, 2)
            response = response._replace(words=words)
    except _BEYOND:
        if whole:
            raise Nonsense from None
    return response, True


def _before(data: bytes, flags: int, version: int) -> tuple[int, int]:
    """Index behind what flags put in front of a response (section 4), and the number of warnings."""
    at = 16 if flags & TRACING else 0
    warnings = 0
    if flags & WARNING and version >= V4:
        warnings = _short(data, at)
        at += 2
        for _ in range(warnings):
            at += 2 + _short(data, at)
    if flags & PAYLOAD and version >= V4:
        at = _payload(data, at)
    if at > len(data):
        raise _Cut
    return at, warnings


def _payload(data: bytes, at: int) -> int:
    """Index behind a [bytes map]."""
    count = _short(data, at)
    at += 2
    for _ in range(count):
        at += 2 + _short(data, at)
        at += 4 + max(0, _int(data, at))
    return at


def _values(data: bytes, at: int, named: bool) -> tuple[int, int]:
    """Number of values and the index behind them."""
    count = _short(data, at)
    at += 2
    for _ in range(count):
        if named:
            at += 2 + _short(data, at)
        length = _int(data, at)
        if length < -2:
            raise Nonsense
        at += 4 + max(0, length)
    return count, at


def _token(data: bytes, at: int, length: int) -> None:
    """Nobody's business but for its length."""
    if _int(data, at) not in (length - at - 4, -1) and len(data) == length:
        raise Nonsense


def _map(data: bytes, at: int) -> tuple[str, ...]:
    words, _ = _strings(data, at + 2, 2 * _few(data, at))
    return words


def _list(data: bytes, at: int) -> tuple[str, ...]:
    words, _ = _strings(data, at + 2, _few(data, at))
    return words


def _few(data: bytes, at: int) -> int:
    count = _short(data, at)
    if not 0 < count <= 64:
        raise Nonsense
    return count


def _strings(data: bytes, at: int, count: int) -> tuple[tuple[str, ...], int]:
    found = []
    for _ in range(count):
        word, at = _string(data, at)
        found.append(word)
    return tuple(found), at


def _string(data: bytes, at: int) -> tuple[str, int]:
    end = at + 2 + (data[at] << 8 | data[at + 1])
    if end > len(data):
        raise _Cut
    try:
        return data[at + 2 : end].decode(), end
    except UnicodeDecodeError:
        raise Nonsense from None


def _long_string(data: bytes, at: int, whole: bool) -> tuple[str, int, bool]:
    """A statement without literals, the index behind it, and whether as much of it is there as is ever told."""
    length = _int(data, at)
    at += 4
    if length < 0 or (whole and at + length > len(data)):
        raise Nonsense
    text = data[at : at + min(length, _STATEMENT)]
    seen = len(text) == min(length, _STATEMENT)
    return _digest(text, len(text) < length), at + length, seen


@lru_cache(maxsize=256)
def _digest(text: bytes, cut: bool) -> str:
    if _CONTROL.search(text, 0, 16):
        raise Nonsense
    return digest(text.decode("utf-8", "replace"), cut)


def _short_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 2 + _short(data, at)
    if end > len(data):
        raise _Cut
    return data[at + 2 : end], end


def _consistency(level: int) -> str:
    if level >= len(CONSISTENCIES):
        raise Nonsense
    return CONSISTENCIES[level]


def _short(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]


def _int(data: bytes, at: int) -> int:
    return int(_INT.unpack_from(data, at)[0])
