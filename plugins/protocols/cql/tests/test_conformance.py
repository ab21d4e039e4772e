"""The suite of every protocol, over the shapes that CQL's messages take."""

import struct

from cql_messages import (
    AUTH_CHALLENGE,
    AUTH_RESPONSE,
    AUTH_SUCCESS,
    AUTHENTICATE,
    ID,
    OPTIONS,
    READY,
    REGISTER,
    SUPPORTED,
    batch,
    envelope,
    error,
    event,
    execute,
    frame,
    prepare,
    prepared,
    query,
    result,
    rows,
    startup,
    string,
    strings,
    value,
)

from rover_core.api import WireProtocol
from rover_core.testing import ProtocolConformance, Transcript
from rover_core.wire import Direction
from rover_cql import plugin

C, S = Direction.CLIENT, Direction.SERVER
TEXT = "SELECT name FROM shop.orders WHERE id = 4711"
SELECT = ("SELECT name FROM shop.orders WHERE id = ?", "OK", False)
LONG = f"{TEXT} AND name = 'secret' AND other = 'secret'"
FOUND = (f"{SELECT[0]} AND name = ? AND other = ?", "OK", False)
INSERT = "INSERT INTO shop.orders (id, name) VALUES (1, 'secret')"
INSERTED = "INSERT INTO shop.orders (id, name) VALUES (?)"
UUID = bytes.fromhex("6ab09bec11d111f0aabb0242ac110002")
UNAVAILABLE = struct.pack("!Hii", 4, 2, 1)
TIMED_OUT = struct.pack("!Hii", 4, 1, 2) + string("SIMPLE")
PAYLOAD = struct.pack("!H", 1) + string("key") + value(b"secret")
OTHER_ID = ID[::-1]


OFFERED = struct.pack("!H", 1) + string("COMPRESSION") + struct.pack("!H", 1) + string("lz4")
LOGIN = value(b"\0jane\0secret")
DROPPED = strings("DROPPED", "TABLE", "Shop", "orders")
EVENTS = struct.pack("!H", 1) + string("SCHEMA_CHANGE")
PASSWORDS = string("org.apache.PasswordAuthenticator")


class TestCql(ProtocolConformance):
    def make(self) -> WireProtocol:
        (protocol,) = plugin.rover_protocols()
        return protocol

    def transcripts(self) -> list[Transcript]:
        return [
            Transcript(
                "statements, answered in the other order, errors",
                [
                    (C, query(1, TEXT) + query(2, INSERT)), (S, result(2)), (S, rows(1, b"apple", b"pear")),
                    (C, query(3, "SELECT broken '")), (S, error(3, 0x2000)),
                    (C, query(300, TEXT)), (S, error(300, 0x1000, UNAVAILABLE)),
                    (C, query(4, INSERT)), (S, error(4, 0x1100, TIMED_OUT)),
                    (C, query(5, "CREATE TABLE shop.orders (id int PRIMARY KEY)")),
                    (S, error(5, 0x2400, strings("shop", "orders"))),
                    (C, query(1, TEXT)), (S, rows(1, b"plum", paging=b"state")),
                ],
                [
                    (INSERTED, "OK", False), SELECT, ("SELECT broken ?", "SYNTAX_ERROR", True),
                    (SELECT[0], "UNAVAILABLE", True), (INSERTED, "WRITE_TIMEOUT", True),
                    ("CREATE TABLE shop.orders (id int PRIMARY KEY)", "ALREADY_EXISTS", True), SELECT,
                ],
            ),
            Transcript(
                "tracing, warnings, a payload, both compressions, version 3",
                [
                    (C, query(1, TEXT, flags=2)), (S, rows(1, b"apple", flags=2, before=UUID)),
                    (C, query(2, TEXT, flags=4, payload=PAYLOAD)),
                    (S, rows(2, b"pear", flags=14, before=UUID + struct.pack("!H", 1) + string("careful") + PAYLOAD)),
                    (C, query(3, LONG, coding="lz4")), (S, rows(3, *[b"apple"] * 9, coding="lz4")),
                    (C, query(4, LONG, coding="snappy")), (S, rows(4, *[b"apple"] * 9, coding="snappy")),
                    (C, query(5, TEXT)), (S, result(5, coding="lz4")),
                ],
                [SELECT, SELECT, FOUND, FOUND, SELECT],
            ),
            Transcript(
                "a login, events, keyspaces, version 3",
                [
                    (C, envelope(OPTIONS, 0, version=3)),
                    (S, envelope(SUPPORTED, 0, OFFERED, 3)),
                    (C, startup(version=3)), (S, envelope(AUTHENTICATE, 0, PASSWORDS, 3)),
                    (C, envelope(AUTH_RESPONSE, 0, LOGIN, 3)),
                    (S, envelope(AUTH_CHALLENGE, 0, value(b"again"), 3)),
                    (C, envelope(AUTH_RESPONSE, 0, LOGIN, 3)), (S, envelope(AUTH_SUCCESS, 0, value(None), 3)),
                    (C, envelope(REGISTER, 1, EVENTS, 3)), (S, envelope(READY, 1, version=3)),
                    (C, query(2, 'USE "Shop"', 3)), (S, result(2, 3, string("Shop"), 3)),
                    (C, query(3, "DROP TABLE orders", 3)),
                    (S, event("SCHEMA_CHANGE", "DROPPED", "TABLE", "Shop", "orders", version=3)),
                    (S, result(3, 5, strings("DROPPED", "TABLE", "Shop", "orders"), 3)),
                    (C, query(4, TEXT, 3)), (S, rows(4, b"apple", version=3)),
                ],
                [
                    ("OPTIONS", "OK", False), ("STARTUP", "OK", False), ("AUTH_RESPONSE", "OK", False),
                    ("AUTH_RESPONSE", "OK", False), ("REGISTER", "OK", False), ('USE "Shop"', "OK", False),
                    ("EVENT SCHEMA_CHANGE", "OK", False), ("DROP TABLE orders", "OK", False), SELECT,
                ],
            ),
            Transcript(
                "prepared statements and batches",
                [
                    (C, prepare(1, "SELECT name FROM shop.orders WHERE id = ?")), (S, prepared(1)),
                    (C, execute(2)), (S, rows(2, b"apple")),
                    (C, batch(3, INSERT, INSERT, ID, "DELETE FROM a", "DELETE FROM b")), (S, result(3)),
                    (C, execute(4)), (S, error(4, 0x2500, struct.pack("!H", 16) + ID)),
                ],
                [
                    (f"PREPARE {SELECT[0]}", "OK", False), SELECT,
                    (f"BATCH {INSERTED}; {SELECT[0]}; ...", "OK", False), (SELECT[0], "UNPREPARED", True),
                ],
                independent=False,
            ),
            Transcript(
                "version 5: frames with several messages, and messages in several frames",
                [
                    (C, envelope(OPTIONS, 0, version=5)),
                    (S, envelope(SUPPORTED, 0, OFFERED, 5)),
                    (C, startup(version=5)), (S, envelope(READY, 0, version=5)),
                    (C, frame(query(1, TEXT, 5) + query(2, INSERT, 5))),
                    (S, frame(rows(1, b"a", version=5) + result(2, version=5))),
                    *_in_frames(C, query(3, TEXT, 5), 60), *_in_frames(S, rows(3, *[b"apple"] * 9, version=5), 64),
                    (C, frame(prepare(4, "SELECT * FROM b WHERE c = ?", 5))), (S, frame(prepared(4, OTHER_ID, 5))),
                    (C, frame(execute(5, OTHER_ID, 5) + batch(6, OTHER_ID, version=5))),
                    (S, frame(rows(5, version=5)) + frame(error(6, 0x1700, UNAVAILABLE, 5))),
                ],
                [
                    ("OPTIONS", "OK", False), ("STARTUP", "OK", False), SELECT, (INSERTED, "OK", False), SELECT,
                    ("PREPARE SELECT * FROM b WHERE c = ?", "OK", False),
                    ("SELECT * FROM b WHERE c = ?", "OK", False),
                    ("BATCH SELECT * FROM b WHERE c = ?", "CAS_WRITE_UNKNOWN", True),
                ],
                independent=False,
            ),
            Transcript(
                "version 5, compressed or not worth it, joined at any place",
                [
                    (C, frame(query(1, LONG, 5), compress=True)),
                    (S, frame(rows(1, *[b"apple"] * 9, version=5), compress=True)),
                    (C, frame(query(2, INSERT, 5), compress=False)),
                    (S, frame(result(2, version=5), compress=False)),
                    (C, frame(query(3, TEXT, 5))), (S, frame(error(3, 0x2000, version=5))),
                    (C, frame(query(1, TEXT, 5))), (S, frame(rows(1, version=5))),
                ],
                [FOUND, (INSERTED, "OK", False), (SELECT[0], "SYNTAX_ERROR", True), SELECT],
            ),
        ]  # fmt: skip


def _in_frames(side: Direction, message: bytes, size: int) -> list[tuple[Direction, bytes]]:
    """In one call each."""
    return [(side, frame(message[at : at + size], contained=False)) for at in range(0, len(message), size)]
