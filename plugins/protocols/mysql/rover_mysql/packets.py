"""Packets of the client/server protocol: what a head says.

https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html, https://mariadb.com/kb/en/clientserver-protocol/
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

HEADER = 4
LARGEST = 0xFFFFFF
"""A packet of that length goes on in the next one."""

HEAD = 4000
"""Bytes of a client's packet that are looked at: the longest statement that is read whole."""

LOGIN, CONTINUATION, TLS = -1, -2, -3
QUIT, INIT_DB, QUERY, FIELD_LIST, STATISTICS, PING = 1, 2, 3, 4, 9, 14
CHANGE_USER, BINLOG_DUMP, PREPARE, EXECUTE, SEND_LONG_DATA, CLOSE = 17, 18, 22, 23, 24, 25
RESET, SET_OPTION, FETCH, BINLOG_DUMP_GTID, RESET_CONNECTION, BULK_EXECUTE = 26, 27, 28, 30, 31, 250
COMMANDS = {
    LOGIN: "LOGIN", CONTINUATION: "", TLS: "TLS", 0: "SLEEP", QUIT: "QUIT", INIT_DB: "INIT_DB", QUERY: "QUERY",
    FIELD_LIST: "FIELD_LIST", 5: "CREATE_DB", 6: "DROP_DB", 7: "REFRESH", 8: "SHUTDOWN", STATISTICS: "STATISTICS",
    10: "PROCESS_INFO", 11: "CONNECT", 12: "PROCESS_KILL", 13: "DEBUG", PING: "PING", 15: "TIME",
    16: "DELAYED_INSERT", CHANGE_USER: "CHANGE_USER", BINLOG_DUMP: "BINLOG_DUMP", 19: "TABLE_DUMP",
    20: "CONNECT_OUT", 21: "REGISTER_REPLICA", PREPARE: "PREPARE", EXECUTE: "EXECUTE",
    SEND_LONG_DATA: "SEND_LONG_DATA", CLOSE: "CLOSE", RESET: "RESET", SET_OPTION: "SET_OPTION", FETCH: "FETCH",
    29: "DAEMON", BINLOG_DUMP_GTID: "BINLOG_DUMP", RESET_CONNECTION: "RESET_CONNECTION", 32: "CLONE",
    BULK_EXECUTE: "EXECUTE",
}  # fmt: skip
"""Commands by their first byte; the server's names, without `COM_` and `STMT_`."""

_LENGTHS = {QUIT: 1, STATISTICS: 1, PING: 1, RESET_CONNECTION: 1, CLOSE: 5, RESET: 5, SET_OPTION: 3, FETCH: 9, 13: 1}
_STATEMENTS = (
    "select insert update delete replace call set show begin start commit rollback savepoint use create alter drop "
    "truncate load lock unlock explain describe desc analyze grant revoke prepare execute deallocate kill do xa with "
    "values table release check optimize repair flush handler import rename"
)
_STATEMENT = re.compile(
    rb"(?:\0\x01)?[\s(]*(?:/\*|--|#|(?:" + _STATEMENTS.replace(" ", "|").encode() + rb")\b)", re.I
)
_PRINTABLE = re.compile(rb"[!-~ \x80-\xff]+")
_ERROR = re.compile(rb"\xff[\0-\xff][\x03-\x7f]#[0-9A-Z]{5}")

LONG_LOGIN, SSL, COMPRESS, QUERY_ATTRIBUTES, ZSTD = 0x200, 0x800, 0x20, 1 << 27, 1 << 26
MORE_RESULTS, CURSOR, NO_BACKSLASHES = 0x0008, 0x0040, 0x0200


@dataclass(slots=True)
class Session:
    """What one direction must know of the other, and both of the connection.

    compressed: packets travel inside of others. flags: the capabilities that the login chose, 0 if it was not seen.
    has_eof: whether a packet ends column definitions; None until that is seen. sent: commands of the client so far.
    sequence: the number of its last packet; answers go on from there.
    """

    compressed: bool = False
    flags: int = 0
    has_eof: bool | None = None
    backslashes: bool = True
    sent: int = 0
    sequence: int = 0


class Command(NamedTuple):
    """kind: of COMMANDS. text: a statement. name: of a user, a schema or a table. statement: a prepared one's id.

    backslashes: escape, in the text.
    """

    kind: int
    text: bytes = b""
    name: str = ""
    statement: int = 0
    backslashes: bool = True


@dataclass(slots=True)
class Answer:
    """What a server's packets up to the client's next turn say; grows until they are all there.

    kind: ok, error, result set, prepared, fields, eof, text, stream, refused (the connection); greeting, auth and
    infile are not the last word. rows: of all result sets. affected, insert_id, warnings: of the last OK or EOF.
    statement, params: of a prepared one.
    """

    kind: str
    code: int = 0
    sqlstate: str = ""
    columns: int = 0
    rows: int = 0
    sets: int = 0
    affected: int = 0
    insert_id: int = 0
    warnings: int = 0
    statement: int = 0
    params: int = 0

    @property
    def final(self) -> bool:
        return self.kind not in ("greeting", "auth", "infile")


def lenenc(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """A length-encoded integer and where it ends. Raises IndexError behind the end."""
    first = data[at]
    if first < 0xFB:
        return first, at + 1
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(first, 0)
    if not size or at + size >= len(data):
        raise IndexError
    return int.from_bytes(data[at + 1 : at + 1 + size], "little"), at + 1 + size


def is_command(payload: bytes | bytearray, length: int) -> bool:
    """Whether this certainly begins a command, wherever it stands: without state, statements are known by a word."""
    kind = payload[0] if payload else 0
    if kind in _LENGTHS:
        return length == _LENGTHS[kind]
    if kind in (QUERY, PREPARE):
        return _STATEMENT.match(payload, 1) is not None
    if kind == EXECUTE:
        return length >= 10 and payload[3:5] == b"\0\0" and payload[6:10] == b"\1\0\0\0" and payload[5] < 9
    if kind in (INIT_DB, FIELD_LIST):
        return 1 < length <= 256 and len(payload) >= length and _PRINTABLE.fullmatch(payload, 1, length) is not None
    return False


def is_login(payload: bytes | bytearray) -> bool:
    if len(payload) < 32:
        return False
    flags = int.from_bytes(payload[:4], "little")
    return bool(flags & LONG_LOGIN) and payload[9:28] == bytes(19)


def is_answer(payload: bytes | bytearray, length: int, sequence: int) -> bool:
    """Whether this certainly begins an answer, wherever it stands."""
    if not payload or not length:
        return False
    first = payload[0]
    if sequence == 0:
        return is_greeting(payload) or (first == 0xFF and 3 < length < 600)
    if first == 0xFF:
        return _ERROR.match(payload) is not None and length < 600
    if first == 0xFE:
        return length == 5 and len(payload) >= 5
    if first == 0:
        said = ok(payload)
        is_prepared = length in (12, 13) and payload[9:10] == b"\0"
        return is_prepared or (said is not None and (7 <= length <= 16 or (16 < length < 4096 and said[2] & 3 != 0)))
    return length <= 2 and _follows(payload, length)


def _follows(payload: bytes | bytearray, length: int) -> bool:
    """Whether a number of columns is followed by the first of them."""
    rest = payload[length : length + 12]
    return len(rest) >= 8 and rest[2] == 0 and rest[3] == 2 and rest[4:8] == b"\x03def"


def is_greeting(payload: bytes | bytearray) -> bool:
    return len(payload) > 8 and payload[0] == 10 and payload[1:2].isdigit() and b"." in payload[1:6]


def ok(payload: bytes | bytearray) -> tuple[int, int, int, int] | None:
    """Affected rows, insert id, status and warnings of an OK packet; None if that is not one."""
    try:
        affected, at = lenenc(payload, 1)
        insert_id, at = lenenc(payload, at)
    except IndexError:
        return None
    if at + 4 > len(payload):
        return None
    return affected, insert_id, payload[at] | payload[at + 1] << 8, payload[at + 2] | payload[at + 3] << 8


def statement_text(payload: bytes, flags: int) -> bytes:
    """The text of a COM_QUERY, behind its attributes if the client sends such; empty if they are too long."""
    if not (flags & QUERY_ATTRIBUTES or (not flags and payload[1:2] < b"\t" and payload[2:3] == b"\x01")):
        return payload[1:]
    try:
        count, at = lenenc(payload, 1)
        _, at = lenenc(payload, at)
        return payload[_behind_attributes(payload, at, count) :] if count else payload[at:]
    except IndexError:
        return b""


def _behind_attributes(payload: bytes, at: int, count: int) -> int:
    nulls = at
    at += (count + 7) // 8
    if payload[at] != 1 or count > len(payload):
        raise IndexError
    at += 1
    kinds = []
    for _ in range(count):
        kinds.append(payload[at])
        length, at = lenenc(payload, at + 2)
        at += length
    for index, kind in enumerate(kinds):
        if not payload[nulls + index // 8] >> index % 8 & 1:
            at = _behind_value(payload, at, kind)
    return at


_FIXED = {1: 1, 2: 2, 13: 2, 3: 4, 9: 4, 4: 4, 8: 8, 5: 8, 6: 0}
_TIMES = (7, 10, 11, 12)


def _behind_value(payload: bytes, at: int, kind: int) -> int:
    if kind in _FIXED:
        return at + _FIXED[kind]
    if kind in _TIMES:
        return at + 1 + payload[at]
    length, at = lenenc(payload, at)
    return at + length
