"""The suite of every protocol, over the shapes that MySQL's messages take."""

from mysql_packets import (
    CAPABILITIES,
    COMPRESS,
    MORE,
    column,
    command,
    compressed,
    eof,
    error,
    execute,
    greeting,
    login,
    ok,
    packet,
    prepared,
    query,
    result_set,
    text,
)

from rover_core.api import WireProtocol
from rover_core.testing import ProtocolConformance, Transcript
from rover_core.wire import Direction
from rover_mysql import plugin

C, S = Direction.CLIENT, Direction.SERVER
SELECT = ("SELECT name FROM t WHERE id = ?", "OK", False)
LOGIN = ("LOGIN", "OK", False)


def select(number: int) -> bytes:
    return query(f"SELECT name FROM t WHERE id = {number}")


class TestMysql(ProtocolConformance):
    def make(self) -> WireProtocol:
        (protocol,) = plugin.rover_protocols()
        return protocol

    def transcripts(self) -> list[Transcript]:
        return [
            Transcript(
                "statements, with and without rows",
                [
                    (C, select(1)), (S, result_set(text("apple"), text("pear"))),
                    (C, query("UPDATE t SET name = 'secret' WHERE id IN (1, 2)")), (S, ok(affected=2)),
                    (C, query("SELECT broken")), (S, error(1054, "42S22")),
                    (C, select(2)), (S, result_set()),
                    (C, command(14)), (S, ok()),
                    (C, select(3)), (S, result_set(text("plum"), b"\xfb")),
                ],
                [
                    SELECT, ("UPDATE t SET name = ? WHERE id IN (?)", "OK", False),
                    ("SELECT broken", "1054 (42S22)", True), SELECT, ("PING", "OK", False), SELECT,
                ],
            ),
            Transcript(
                "without EOF, several columns, session tracking, an error after rows",
                [
                    (C, select(1)), (S, result_set(text("a") + text("b"), columns=2, has_eof=False)),
                    (C, query("SET NAMES utf8mb4")), (S, ok(status=0x4002, tail=b"\0\x05\x02\x03\x02\x01\x31")),
                    (C, select(2)),
                    (S, result_set(text("a") + text("b"), columns=2, has_eof=False)[:-11] + error(1317, "70100", 5)),
                    (C, select(3)), (S, result_set(columns=2, has_eof=False)),
                ],
                [
                    SELECT, ("SET NAMES utf8mb4", "OK", False),
                    ("SELECT name FROM t WHERE id = ?", "1317 (70100)", True), SELECT,
                ],
            ),
            Transcript(
                "a login, a failed change of user, several statements and their results, an upload",
                [
                    (S, greeting()), (C, login()), (S, packet(2, b"\xfecaching_sha2_password\0saltsalt\0")),
                    (C, packet(3, b"\x07" * 32)), (S, packet(4, b"\x01\x03") + ok(5)),
                    (C, query("UPDATE a SET b = 1; SELECT 2")),
                    (S, ok(affected=1, status=2 | MORE) + result_set(text("2"), first=2)),
                    (C, query("LOAD DATA LOCAL INFILE 'f' INTO TABLE t")), (S, packet(1, b"\xfbf")),
                    (C, packet(2, b"1,2\n3,4\n") + packet(3, b"")), (S, ok(4, affected=2)),
                    (C, command(17, b"other\0\0shop\0")), (S, error(1045, "28000")),
                    (C, command(4, b"orders\0")), (S, _fields()),
                    (C, command(9)), (S, packet(1, b"Uptime: 100  Threads: 1")),
                ],
                [
                    LOGIN, ("UPDATE a SET b = ?; SELECT ?", "OK", False),
                    ("LOAD DATA LOCAL INFILE ? INTO TABLE t", "OK", False), ("CHANGE_USER", "1045 (28000)", True),
                    ("FIELD_LIST", "OK", False), ("STATISTICS", "OK", False),
                ],
                independent=False,
            ),
            Transcript(
                "prepared statements, a cursor",
                [
                    (C, query("SET @a = 1")), (S, ok()),
                    (C, select(1)), (S, result_set(text("x"))),
                    (C, command(22, b"SELECT name FROM t WHERE id = ?")), (S, prepared(7, 1, 1)),
                    (C, execute(7)), (S, result_set(b"\0\0\x05apple")),
                    (C, execute(7)), (S, result_set(cursor=True)),
                    (C, command(28, b"\7\0\0\0\1\0\0\0")), (S, packet(1, b"\0\0\x05apple") + eof(2)),
                    (C, command(26, b"\7\0\0\0")), (S, ok()),
                    (C, command(22, b"DELETE FROM t")), (S, prepared(8, 0, 0)),
                ],
                [
                    ("SET @a = ?", "OK", False), SELECT, ("PREPARE SELECT name FROM t WHERE id = ?", "OK", False),
                    SELECT, SELECT, ("FETCH SELECT name FROM t WHERE id = ?", "OK", False), ("RESET", "OK", False),
                    ("PREPARE DELETE FROM t", "OK", False),
                ],
                independent=False,
            ),
            Transcript(
                "compressed",
                [
                    (S, greeting()), (C, login(CAPABILITIES | COMPRESS)), (S, ok(2)),
                    (C, compressed(0, select(1), squeeze=False)),
                    (S, compressed(1, result_set(*[text("apple" * 10)] * 4))),
                    (C, compressed(0, select(2))), (S, compressed(1, ok(), squeeze=False)),
                ],
                [LOGIN, SELECT, SELECT],
                independent=False,
            ),
        ]  # fmt: skip


def _fields() -> bytes:
    """What answers a list of fields: definitions without their number."""
    return column(1) + column(2) + eof(3)
