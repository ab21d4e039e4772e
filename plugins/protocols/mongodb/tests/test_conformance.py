"""The suite of every protocol, over the shapes that MongoDB messages take; written by other libraries."""

import struct
import zlib
from typing import Any

import bson
import snappy
import zstandard

from rover_core.api import WireProtocol
from rover_core.testing import ProtocolConformance, Transcript
from rover_core.wire import Direction
from rover_mongodb import plugin

C, S = Direction.CLIENT, Direction.SERVER
REPLY, UPDATE, QUERY, GET_MORE, COMMAND, COMMAND_REPLY, COMPRESSED, MSG = 1, 2001, 2004, 2005, 2010, 2011, 2012, 2013
EMPTY = bson.encode({})
CHECKSUM, MORE, EXHAUST = 1, 2, 1 << 16
COMPRESSORS = {0: bytes, 1: snappy.compress, 2: zlib.compress, 3: zstandard.compress}
FIND = {
    "find": "orders",
    "filter": {"customer": 4711, "x": "y" * 60},
    "lsid": {"id": bson.Binary(bytes(16), 4)},
    "$db": "shop",
}
BATCH = {"cursor": {"firstBatch": [{"_id": n} for n in range(9)], "id": 7, "ns": "shop.orders"}, "ok": 1.0}
FOUND = ("find orders", "OK", False)


def message(number: int, answers: int, opcode: int, body: bytes) -> bytes:
    return struct.pack("<4i", 16 + len(body), number, answers, opcode) + body


def sections(document: dict[str, Any], flags: int = 0, *, documents: list[dict[str, Any]] | None = None) -> bytes:
    body = struct.pack("<I", flags)
    if documents:
        sequence = b"documents\0" + b"".join(map(bson.encode, documents))
        body += b"\1" + struct.pack("<i", 4 + len(sequence)) + sequence
    return body + b"\0" + bson.encode(document) + (b"sum!" if flags & CHECKSUM else b"")


def ask(number: int, document: dict[str, Any], flags: int = 0, **more: Any) -> bytes:
    return message(number, 0, MSG, sections(document, flags, **more))


def answer(to: int, document: dict[str, Any], flags: int = 0, number: int = 900) -> bytes:
    return message(number, to, MSG, sections(document, flags))


def compressed(compressor: int, plain: bytes) -> bytes:
    _, number, answers, opcode = struct.unpack_from("<4i", plain)
    head = struct.pack("<iib", opcode, len(plain) - 16, compressor)
    return message(number, answers, COMPRESSED, head + COMPRESSORS[compressor](plain[16:]))


def query(number: int, namespace: str, document: dict[str, Any]) -> bytes:
    body = struct.pack("<i", 0) + namespace.encode() + b"\0" + struct.pack("<ii", 0, -1) + bson.encode(document)
    return message(number, 0, QUERY, body)


def reply(to: int, *documents: dict[str, Any], flags: int = 8) -> bytes:
    body = struct.pack("<iqii", flags, 0, 0, len(documents)) + b"".join(map(bson.encode, documents))
    return message(901, to, REPLY, body)


class TestMongodb(ProtocolConformance):
    def make(self) -> WireProtocol:
        (protocol,) = plugin.rover_protocols()
        return protocol

    def transcripts(self) -> list[Transcript]:
        refused = {"ok": 0.0, "errmsg": "not authorized on shop", "code": 13, "codeName": "Unauthorized"}
        duplicate = {"n": 0, "writeErrors": [{"index": 0, "code": 11000, "errmsg": "E11000 dup key"}], "ok": 1.0}
        insert = {"insert": "orders", "ordered": True, "$db": "shop"}
        return [
            Transcript(
                "commands, documents before them, failures of commands and of writes",
                [
                    (C, ask(1, FIND)), (S, answer(1, BATCH)),
                    (C, ask(2, insert, CHECKSUM, documents=[{"_id": 1}, {"_id": 2}])),
                    (S, answer(2, duplicate, CHECKSUM)),
                    (C, ask(3, {"getMore": bson.Int64(7), "collection": "orders", "$db": "shop"})),
                    (S, answer(3, refused)),
                    (C, ask(4, {"frobnicate": "secret", "$db": "admin"})), (S, answer(4, {"ok": 1})),
                    (C, ask(5, FIND)), (S, answer(5, {"n": 1, "writeConcernError": {"code": 64}, "ok": 1.0})),
                    (C, ask(6, FIND)), (S, answer(6, BATCH)),
                ],
                [
                    FOUND, ("insert orders", "11000", True), ("getMore orders", "13", True), ("other", "OK", False),
                    ("find orders", "64", True), FOUND,
                ],
            ),
            Transcript(
                "answered in the other order, compressed in all ways",
                [
                    (C, compressed(1, ask(1, FIND)) + compressed(2, ask(2, insert))),
                    (S, compressed(3, answer(2, {"n": 1, "ok": 1.0}))), (S, compressed(1, answer(1, BATCH))),
                    (C, compressed(3, ask(3, {"ping": 1, "$db": "admin"}))), (S, compressed(2, answer(3, refused))),
                    (C, compressed(0, ask(4, FIND))), (S, compressed(0, answer(4, BATCH))),
                ],
                [("insert orders", "OK", False), FOUND, ("ping", "13", True), FOUND],
            ),
            Transcript(
                "requests that nothing answers, replies without requests",
                [
                    (C, ask(1, insert, MORE, documents=[{"_id": 1}])),
                    (C, ask(2, FIND, EXHAUST)), (S, answer(2, BATCH, MORE, 50)), (S, answer(50, BATCH, MORE, 51)),
                    (S, answer(51, BATCH, 0, 52)),
                    (C, ask(3, FIND)), (S, answer(3, BATCH)),
                ],
                [("insert orders", "", False), FOUND, FOUND, FOUND, FOUND],
            ),
            Transcript(
                "before OP_MSG",
                [
                    (C, query(1, "admin.$cmd", {"ismaster": 1, "client": {}})),
                    (S, reply(1, {"ismaster": True, "ok": 1.0})),
                    (C, query(2, "shop.$cmd", {"$query": {"count": "orders"}})), (S, reply(2, {"n": 3.0, "ok": 1.0})),
                    (C, query(3, "shop.orders", {"x": 1})), (S, reply(3, {"ok": 0, "code": 5}, {"_id": 2})),
                    (C, query(4, "shop.orders", {"x": 1})), (S, reply(4, {"$err": "no", "code": 96}, flags=10)),
                    (C, message(5, 0, UPDATE, bytes(4) + b"shop.orders\0" + bytes(4) + EMPTY * 2)),
                    (C, message(6, 0, GET_MORE, bytes(4) + b"shop.orders\0" + bytes(12))), (S, reply(6, flags=9)),
                    (C, message(7, 0, COMMAND, b"shop\0count\0" + bson.encode({"count": "orders"}) + EMPTY)),
                    (S, message(902, 7, COMMAND_REPLY, bson.encode({"n": 1, "ok": 1.0}) + EMPTY)),
                ],
                [
                    ("isMaster", "OK", False), ("count orders", "OK", False), FOUND, ("find orders", "96", True),
                    ("update orders", "", False), ("getMore orders", "error", True), ("count orders", "OK", False),
                ],
            ),
        ]  # fmt: skip
