"""Messages of the MongoDB wire protocol: the header, what a command asks, and what a reply says of it."""

import struct
from typing import NamedTuple

from rover_mongodb.bson import ARRAY, DOCUMENT, INT32, STRING, elements, number, text
from rover_mongodb.commands import names_collection

HEADER = struct.Struct("<4i")  # length, id, id of what it answers, opcode
LONGEST = 48_000_000 + 16_384  # maxMessageSizeBytes of every server so far, and its header

REPLY, UPDATE, INSERT, QUERY, GET_MORE, DELETE, KILL_CURSORS = 1, 2001, 2002, 2004, 2005, 2006, 2007
COMMAND, COMMAND_REPLY, COMPRESSED, MSG = 2010, 2011, 2012, 2013
REQUESTS = frozenset((UPDATE, INSERT, QUERY, GET_MORE, DELETE, KILL_CURSORS, COMMAND, COMPRESSED, MSG))
RESPONSES = frozenset((REPLY, COMMAND_REPLY, COMPRESSED, MSG))
_UNANSWERED = frozenset((UPDATE, INSERT, DELETE, KILL_CURSORS))
_LEGACY = {UPDATE: "update", INSERT: "insert", QUERY: "find", GET_MORE: "getMore", DELETE: "delete"}

MORE_TO_COME = 2
_CURSOR_NOT_FOUND, _QUERY_FAILURE = 1, 2
_REPLY_FIELDS = struct.Struct("<iqii")  # flags, cursor, first, number of documents
_LONG_ENOUGH = 256
"""Bytes of a reply's document within which a failure says that it is one; `ok` comes first with some, or last."""


class Command(NamedTuple):
    """opcode: of the message, or what it was before it was compressed. command: as sent. answered: a reply will come.

    collection: without the database; empty where the command is about none. database: empty if it was not captured.
    documents: the reply has documents of users, and no command's outcome.
    """

    id: int
    opcode: int
    compressor: int | None
    command: str
    collection: str
    database: str
    answered: bool
    documents: bool


class Reply(NamedTuple):
    """ok: as the server says; None if it was not captured. code: of the failure; 0 if it has none or there is none.

    failed: by `ok`, errors of writes, or flags. queried: by flags alone. documents: written, or returned by OP_REPLY.
    more: other replies follow without a request. asked: the command that this is a further reply to.
    """

    id: int
    answers: int
    opcode: int
    compressor: int | None
    ok: int | None
    code: int
    failed: bool
    queried: bool
    documents: int | None
    more: bool
    asked: Command | None = None


class Header(NamedTuple):
    """opcode, compressor: as in Command. flags: OP_MSG's."""

    id: int
    answers: int
    opcode: int
    compressor: int | None = None
    flags: int = 0


def command_of(header: Header, data: bytes, at: int, end: int) -> tuple[Command, bool]:
    """What a request asks, of as much of it as there is; and whether that says it. data[at]: behind the header."""
    opcode = header.opcode
    name = collection = database = ""
    answered = opcode not in _UNANSWERED
    documents = False
    if opcode == MSG:
        name, collection, database = _asked(data, body_of(data, at, end), end)
        answered = not header.flags & MORE_TO_COME
    elif opcode == COMMAND:
        database, at = _cstring(data, at, end)
        name, at = _cstring(data, at, end)
        collection = _named(data, at, end, name)
    elif opcode == KILL_CURSORS:
        name = "killCursors"
    else:
        namespace, at = _cstring(data, at + 4, end)
        database, _, collection = namespace.partition(".")
        documents = opcode in (QUERY, GET_MORE)
        name = _LEGACY[opcode] if namespace else ""
        if collection == "$cmd" and opcode == QUERY:
            name, collection, _ = _asked(data, at + 8, end)
            documents = False
    command = Command(header.id, opcode, header.compressor, name, collection, database, answered, documents)
    return command, bool(name) and (bool(collection) or not names_collection(name))


def reply_of(header: Header, data: bytes, at: int, end: int, whole: bool) -> tuple[Reply, bool]:
    """What a response says, of as much of it as there is; and whether that is enough."""
    flags, returned = 0, None
    documents = [at]
    if header.opcode == MSG:
        documents = [body_of(data, at, end)]
    elif header.opcode == COMMAND_REPLY:
        first = INT32.unpack_from(data, at)[0] if at + 4 <= end else 0
        documents.append(at + max(4, first))
    elif at + _REPLY_FIELDS.size <= end:
        flags, _, _, returned = _REPLY_FIELDS.unpack_from(data, at)
        documents = [at + _REPLY_FIELDS.size]
    outcome = _outcome(data, documents, end)
    failed = outcome.failed or bool(flags & (_CURSOR_NOT_FOUND | _QUERY_FAILURE))
    said = bool(outcome.code) if failed else outcome.fine or end - documents[0] >= _LONG_ENOUGH
    reply = Reply(
        header.id,
        header.answers,
        header.opcode,
        header.compressor,
        outcome.ok,
        outcome.code,
        failed,
        bool(flags & (_CURSOR_NOT_FOUND | _QUERY_FAILURE)),
        outcome.documents if outcome.documents is not None else returned,
        header.opcode == MSG and bool(header.flags & MORE_TO_COME),
    )
    return reply, whole or said


def body_of(data: bytes, at: int, end: int) -> int:
    """Index of the document of an OP_MSG's only section of kind 0; sections of kind 1 may stand before it."""
    while at + 5 <= end and data[at] == 1:
        at += 1 + max(4, INT32.unpack_from(data, at + 1)[0])
    return at + 1


def _asked(data: bytes, at: int, end: int) -> tuple[str, str, str]:
    """Command, collection and database of a command's document."""
    name = collection = database = ""
    for kind, key, value, behind in elements(data, at, end):
        if not name:
            if kind == DOCUMENT and key in (b"$query", b"query"):  # of drivers before OP_MSG
                return _asked(data, value, end)
            name = key.decode("utf-8", "replace")
            if kind == DOCUMENT and name == "explain":
                collection = _asked(data, value, end)[1]
            elif names_collection(name):
                collection = text(data, kind, value, min(behind, end))
        elif key == b"collection" and name == "getMore":
            collection = text(data, kind, value, end)
        elif key == b"$db":
            database = text(data, kind, value, end)
            break
    return name, collection, database


def _named(data: bytes, at: int, end: int, command: str) -> str:
    """The collection of an OP_COMMAND, whose arguments some servers put into the first of two documents."""
    for _ in range(2):
        name, collection, _ = _asked(data, at, end)
        if name.lower() == command.lower() or at + 4 > end:
            return collection
        at += max(4, INT32.unpack_from(data, at)[0])
    return ""


class _Outcome(NamedTuple):
    ok: int | None
    code: int
    failed: bool
    fine: bool
    documents: int | None


_ERRORS = frozenset((b"writeErrors", b"writeConcernError"))
_TELLING = _ERRORS | {b"ok", b"n", b"code", b"cursor", b"$err", b"err", b"errmsg"}


def _outcome(data: bytes, documents: list[int], end: int) -> _Outcome:
    """What the elements of a reply's documents say, as far as they are there. A cursor is a success."""
    ok: int | None = None
    count: int | None = None
    code, failed, fine = 0, False, False
    for at in documents:
        for kind, key, value, behind in elements(data, at, end):
            if key not in _TELLING:
                continue
            if key == b"ok":
                ok = number(data, kind, value, end)
            elif key == b"n":
                count = number(data, kind, value, end)
            elif key == b"code":
                code = number(data, kind, value, end) or code
                if ok == 0:
                    break
            elif key == b"cursor":
                fine = kind == DOCUMENT
            elif key in _ERRORS:
                failed = True
                code = code or _code(data, kind, value, min(behind, end))
            else:
                failed = failed or kind == STRING
    return _Outcome(ok, code, failed or ok == 0, fine, count)


def _code(data: bytes, kind: int, at: int, end: int) -> int:
    """Of the error that an element is, or of the first that it holds."""
    for inner, key, value, _ in elements(data, at, end):
        if kind == ARRAY:
            return _code(data, inner, value, end) if inner == DOCUMENT else 0
        if key == b"code":
            return number(data, inner, value, end) or 0
    return 0


def _cstring(data: bytes, at: int, end: int) -> tuple[str, int]:
    """The text and the index behind it; empty and `end` if its end is not there."""
    zero = data.find(b"\0", at, end)
    if zero < 0:
        return "", end
    return data[at:zero].decode("utf-8", "replace"), zero + 1
