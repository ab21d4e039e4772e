"""What the parser says of messages, beyond what the suite of all protocols asks."""

import struct
import tracemalloc
import zlib
from typing import Any

import bson
import pytest
import snappy
import zstandard

from rover_core.api import WireProtocol
from rover_core.model import Loss
from rover_core.wire import Connection, Exchange, Limits
from rover_mongodb.bson import elements, text
from rover_mongodb.compression import beginning
from rover_mongodb.connection import MongoConnection

QUERY, COMPRESSED, MSG = 2004, 2012, 2013


def message(number: int, answers: int, document: dict[str, Any], flags: int = 0) -> bytes:
    body = struct.pack("<I", flags) + b"\0" + bson.encode(document)
    return struct.pack("<4i", 16 + len(body), number, answers, MSG) + body


def one(request: bytes, response: bytes = b"", gap: int = 0) -> Exchange:
    connection = MongoConnection(Limits())
    connection.feed(0, request, 0, 1_000)
    found = [*connection.feed(1, response, gap, 5_000), *connection.close()]
    assert len(found) == 1
    return found[0]


def named(document: dict[str, Any]) -> str:
    return one(message(1, 0, document)).operation


OK = message(9, 1, {"ok": 1.0})


@pytest.mark.parametrize(
    ("command", "operation"),
    [
        ({"find": "orders", "filter": {"name": "Jane"}}, "find orders"),
        ({"aggregate": 1, "pipeline": []}, "aggregate"),
        ({"explain": {"find": "orders", "filter": {"name": "Jane"}}}, "explain orders"),
        ({"getMore": bson.Int64(1), "collection": "orders"}, "getMore orders"),
        ({"ISMASTER": 1}, "isMaster"),
        ({"createUser": "jane", "pwd": "secret"}, "createUser"),
        ({"$eval": "function() { secret }"}, "other"),
        ({"drop": "events_20261123"}, "drop events_{}"),
        ({"count": "cache.5f3a0b1c9d8e7f6a5b4c3d2e"}, "count cache.{}"),
        ({"distinct": "a b\u00fc\n"}, "distinct a{}b\u00fc{}"),
    ],
)
def test_operations_hold_no_values(command: dict[str, Any], operation: str) -> None:
    """Broken: names, passwords and code of users reach the tables, or every tenant and day has a row of its own."""
    assert named(command) == operation


def test_sizes_and_times_are_those_of_the_wire(protocol: WireProtocol) -> None:
    """Broken: sizes lack what was not captured, durations begin with the reply."""
    (documents,) = protocol.metrics
    request = message(1, 0, {"insert": "orders", "$db": "shop"})
    found = one(request, message(2, 1, {"n": 3, "ok": 1.0}))
    assert (found.request_bytes, found.duration_ns, found.complete) == (len(request), 4_000, True)
    assert documents.value(found) == 3


def test_a_long_reply_is_a_success_when_its_cursor_was_captured() -> None:
    """Broken: every reply that is longer than what is captured of it is shown as incomplete, or as a failure."""
    reply = message(2, 1, {"cursor": {"firstBatch": [{"x": "y" * 1000}] * 9, "id": 0}, "ok": 1.0})
    found = one(message(1, 0, {"find": "orders"}), reply[:1024], len(reply) - 1024)
    assert (found.status, found.complete, found.response_bytes) == ("OK", True, len(reply))


def test_documents_before_a_command_are_passed_over() -> None:
    """Broken: an insert whose documents come first, and are long, has no name."""
    sequence = b"documents\0" + bson.encode({"x": "y" * 20_000})
    body = (
        bytes(4) + b"\1" + struct.pack("<i", 4 + len(sequence)) + sequence + b"\0" + bson.encode({"insert": "orders"})
    )
    request = struct.pack("<4i", 16 + len(body), 1, 0, MSG) + body
    found = one(request, OK)
    assert (found.operation, found.request_bytes, found.complete) == ("insert orders", len(request), True)


def test_two_gigabytes_are_nobodys_message() -> None:
    """Broken: a length that no server takes blinds the parser for as long."""
    connection = MongoConnection(Limits())
    connection.feed(0, struct.pack("<4i", 0x7FFFFFFF, 1, 0, MSG) + bytes(100), 0, 1)
    assert connection.losses == {Loss.UNREADABLE: 1}
    connection.feed(0, message(1, 0, {"find": "orders"}), 0, 2)
    assert [each.operation for each in connection.feed(1, OK, 0, 3)] == ["find orders"]


def test_a_user_may_have_documents_with_an_ok() -> None:
    """Broken: a document of a user that says `ok: 0` is a failure of the query that found it."""
    body = struct.pack("<iqii", 8, 0, 0, 1) + bson.encode({"ok": 0, "code": 5})
    reply = struct.pack("<4i", 16 + len(body), 2, 1, 1) + body
    asked = struct.pack("<i", 0) + b"shop.orders\0" + struct.pack("<ii", 0, 1) + bson.encode({})
    query = struct.pack("<4i", 16 + len(asked), 1, 0, QUERY) + asked
    assert (one(query, reply).status, one(query, reply).error) == ("OK", False)
    command = query.replace(b"shop.orders", b"admin.$cmd\0")  # not a query but a command
    assert one(command, reply).error


PLAIN = b"".join(b"number %d and again and again, " % (n % 7) + bytes(n % 50) for n in range(400))


@pytest.mark.parametrize(
    ("compressor", "coded"),
    [(0, PLAIN), (1, snappy.compress(PLAIN)), (2, zlib.compress(PLAIN)), (3, zstandard.compress(PLAIN))],
)
def test_beginnings_of_compressed_messages(compressor: int, coded: bytes) -> None:
    """Broken: compressed messages are misread, or only whole ones are read."""
    assert beginning(compressor, coded, 1 << 20) == PLAIN
    assert beginning(compressor, coded, 700) == PLAIN[:700]
    for end in range(len(coded)):
        assert PLAIN.startswith(beginning(compressor, coded[:end], 4096))
    if compressor < 3:  # zstd's smallest unit is a block
        assert len(beginning(compressor, coded[: len(coded) // 2], 4096)) > 300
    assert beginning(9, coded, 100) == b""


def test_decompression_bombs_are_bounded() -> None:
    """Broken: a kilobyte from a stranger is a gigabyte of memory, or seconds of work."""
    zeros = bytes(1 << 24)
    bombs = {
        2: zlib.compress(zeros),
        3: zstandard.compress(zeros),
        1: b"\xff\xff\xff\xff\x0f\x04a\0" + b"\xfe\x01\0" * 9000,
    }
    for compressor, bomb in bombs.items():
        connection: Connection = MongoConnection(Limits())
        body = struct.pack("<iib", MSG, 40, compressor) + bomb
        tracemalloc.start()
        connection.feed(0, struct.pack("<4i", 16 + len(body), 1, 0, COMPRESSED) + body, 0, 1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 200_000, compressor


def test_bson_is_read_as_its_authors_do() -> None:
    """Broken: an element of some type ends elsewhere, and all behind it is nonsense."""
    document = {
        "double": 1.5, "string": "text", "document": {"a": 1}, "array": [1, 2], "binary": b"bytes",
        "id": bson.ObjectId(), "true": True, "date": bson.datetime_ms.DatetimeMS(5), "null": None,
        "regex": bson.Regex("a.*b", "i"), "code": bson.Code("f()"), "scope": bson.Code("f()", {"x": 1}), "int": 7,
        "timestamp": bson.Timestamp(1, 2), "long": bson.Int64(8), "decimal": bson.Decimal128("1.5"),
        "min": bson.MinKey(), "max": bson.MaxKey(), "end": "here",
    }  # fmt: skip
    data = bson.encode(document)
    found = list(elements(data, 0, len(data)))
    assert [key.decode() for _, key, _, _ in found] == list(document)
    kind, _, at, behind = found[-1]
    assert text(data, kind, at, behind) == "here"
    assert behind == len(data) - 1
    for end in range(len(data)):
        cut = [key for _, key, _, _ in elements(data[:end], 0, end)]
        assert cut == [key for _, key, _, _ in found][: len(cut)]


def test_a_million_commands_that_nobody_answers() -> None:
    """Broken: a client that asks and never reads fills the agent's memory."""
    connection = MongoConnection(Limits(open=256))
    asked = message(0, 0, {"find": "orders", "$db": "shop"})
    seen = 0
    tracemalloc.start()
    try:
        for start in range(1, 5_001, 100):
            numbers = range(start, start + 100)
            call = b"".join(asked[:4] + struct.pack("<i", number) + asked[8:] for number in numbers)
            seen += len(connection.feed(0, call, 0, start))
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (kept < 1 << 20, peak < 2 << 20) == (True, True), (kept, peak)
    assert seen == connection.losses[Loss.OVER_LIMIT] == 5_000 - 256
    assert len(connection.close()) == 256
