"""Sampled commands and replies as text, and what must not be in it."""

import datetime
import struct
import zlib
from typing import Any

import bson
from hypothesis import given
from hypothesis import strategies as st

from rover_core.wire import Limits, Rendering
from rover_mongodb.connection import MongoConnection
from rover_mongodb.text import render_message

CANARY = "canary-4711"
MSG, COMPRESSED, ZLIB = 2013, 2012, 2


def message(number: int, answers: int, document: dict[str, Any]) -> bytes:
    body = bytes(5) + bson.encode(document)
    return struct.pack("<4i", 16 + len(body), number, answers, MSG) + body


def compressed(number: int, answers: int, document: dict[str, Any]) -> bytes:
    body = bytes(5) + bson.encode(document)
    packed = struct.pack("<iib", MSG, len(body), ZLIB) + zlib.compress(body)
    return struct.pack("<4i", 16 + len(packed), number, answers, COMPRESSED) + packed


def shown(request: bytes, response: bytes) -> tuple[str, str]:
    connection = MongoConnection(Limits(content=65_536))
    connection.feed(0, request, 0, 1_000)
    (found,) = connection.feed(1, response, 0, 5_000)
    assert found.request
    assert found.response
    return render_message(found.request, Rendering()), render_message(found.response, Rendering())


FIND = {"find": "orders", "filter": {"name": CANARY, "age": {"$gt": 4711}}, "limit": 3, "$db": "shop"}
REPLY = {"cursor": {"firstBatch": [{"name": CANARY}, {"name": CANARY}], "id": 0}, "ok": 1.0}


def test_a_command_has_the_shape_of_its_query() -> None:
    """Broken: a slow query cannot be told from another, or shows whom it was about."""
    expected = (
        "find orders, database shop\n{find: ?, filter: {name: ?, age: {$gt: ?}}, limit: ?, $db: ?}",
        "OK\n{cursor: {firstBatch: [{name: ?}, ...], id: ?}, ok: 1}",
    )
    assert shown(message(1, 0, FIND), message(9, 1, REPLY)) == expected
    assert shown(compressed(1, 0, FIND), compressed(9, 1, REPLY)) == expected
    failed = message(9, 1, {"ok": 0.0, "errmsg": CANARY, "code": 13})
    assert shown(message(1, 0, FIND), failed)[1] == "error 13\n{ok: 0, errmsg: ?, code: 13}"


VALUES = st.one_of(
    st.just(CANARY),
    st.just(CANARY.encode()),
    st.just(bson.Regex(CANARY)),
    st.just(bson.Code(CANARY, {"a": CANARY})),
    st.just(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)),
    st.just(4711),
)
DOCUMENTS = st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just("k"), inner))


@given(DOCUMENTS)
def test_no_value_is_told_whatever_holds_it(value: Any) -> None:
    """Broken: what users store is in a sample."""
    request, response = shown(
        message(1, 0, {"insert": "orders", "documents": [{"v": value}], "x": value}),
        message(9, 1, {"v": value, "ok": 1}),
    )
    assert CANARY not in request + response
    assert "4711" not in request + response
    assert "2026" not in request + response
