"""What the parser says of messages, beyond what the suite of all protocols asks."""

import itertools
import struct
import tracemalloc
import zlib
from collections.abc import Iterator

import pytest
import zstandard
from mysql_packets import (
    CAPABILITIES,
    column,
    command,
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

from rover_core.wire import Exchange, Limits
from rover_mysql.compression import unpack
from rover_mysql.connection import MysqlConnection
from rover_mysql.digest import digest


def exchanges(*steps: tuple[int, bytes]) -> list[Exchange]:
    connection = MysqlConnection(Limits(content=1000))
    found = [each for at, step in enumerate(steps, 1) for each in connection.feed(*step, 0, at * 1000)]
    return [*found, *connection.close()]


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("select * from t1 where id=42 and a = 'O''Re\\'illy' -- c\n and x in (1,2,  3)",
         "select * from t1 where id=? and a = ? and x in (?)"),
        ("INSERT INTO a.b (x,`y 1`) VALUES (1,'a'),(-2,\"b\")", "INSERT INTO a.b (x,`y 1`) VALUES (?)"),
        ("/* secret */ SELECT 0xFF, 1e-5, .5, @a, @@version # secret", "SELECT ?, ?, ?, @a, @@version"),
        ("select 'cut off in the middle of a secr", "select ?"),
        ("select 'cut off behind an escape \\", "select ?"),
        ("SELECT 1;", "SELECT ?"),
    ],
)  # fmt: skip
def test_values_are_not_shown(statement: str, shown: str) -> None:
    """Broken: a value is in a table that everybody sees, or each value makes an operation of its own."""
    assert digest(statement) == shown


def test_a_backslash_that_escapes_nothing() -> None:
    """Broken: where NO_BACKSLASH_ESCAPES holds, values are taken for what is between them."""
    statement = query("SELECT '\\', 'secret'")
    (_, found) = exchanges((0, query("SET @a = 1")), (1, ok(status=0x0202)), (0, statement), (1, ok(status=0x0202)))
    assert found.operation == "SELECT ?, ?"


def test_nothing_of_the_content_is_kept() -> None:
    """Broken: rows and passwords lie in samples."""
    (found,) = exchanges((0, query("SELECT 1")), (1, result_set(text("secret"))))
    assert found.request is not None
    assert found.response is not None
    assert (found.request.content, found.response.content) == (b"", b"")
    assert "secret" not in repr(found)


def test_packets_of_more_than_16_mb() -> None:
    """Broken: the rest of a large row or statement is read as packets of their own."""
    large = b"\xff\xff\xff\0\x03SELECT '" + bytes(0xFFFFFF - 9) + packet(1, b"x'")
    (_, found) = exchanges((0, query("SET @a = 1")), (1, ok()), (0, large), (1, packet(2, b"\0\0\0\2\0\0\0")))
    assert (found.operation, found.status, found.request_bytes) == ("SELECT ?", "OK", len(large))


def test_behind_a_request_for_tls() -> None:
    """Broken: encrypted bytes are read as packets; or where the agent has the plain text, the login is missed."""
    asked = packet(1, struct.pack("<IIB", CAPABILITIES | 0x800, 1 << 24, 45) + bytes(23))
    connection = MysqlConnection(Limits())
    for direction, data in ((1, greeting()), (0, asked), (0, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")):
        assert connection.switched == ""
        connection.feed(direction, data, 0, 1)
    assert connection.switched == "tls"
    assert not connection.losses
    header, rest = ok(3)[:4], ok(3)[4:]
    for before, answer in itertools.product(
        ((), ((1, greeting()), (0, asked))), (((1, ok(3)),), ((1, header), (1, rest)))
    ):
        found = exchanges(*before, (0, login(sequence=2)), *answer, (0, query("SELECT 1")), (1, ok()))
        assert [(each.operation, each.status) for each in found] == [("LOGIN", "OK"), ("SELECT ?", "OK")]


def test_a_statement_that_was_prepared_earlier_has_no_text() -> None:
    """Broken: an execution gets another statement's name, or none of its own when it is known."""
    found = exchanges(
        (0, execute(7)), (1, ok()), (0, command(22, b"DELETE FROM t WHERE id = ?")), (1, prepared(7, 0, 1)),
        (0, execute(7)), (1, ok(affected=3)), (0, command(25, b"\7\0\0\0")), (0, execute(7)), (1, ok()),
    )  # fmt: skip
    assert [each.operation for each in found] == [
        "EXECUTE", "PREPARE DELETE FROM t WHERE id = ?", "DELETE FROM t WHERE id = ?", "CLOSE", "EXECUTE",
    ]  # fmt: skip


@pytest.mark.parametrize("pack", [zlib.compress, zstandard.compress], ids=["zlib", "zstd"])
def test_what_unpacks_to_very_much_is_cut(pack: object) -> None:
    """Broken: sixteen kilobytes from outside fill the agent's memory."""
    packed = pack(bytes(50_000_000))  # type: ignore[operator]
    assert len(unpack(packed, 0xFFFFFF)) == 131_072
    assert unpack(pack(b"some text"), 9) == b"some text"  # type: ignore[operator]
    assert unpack(packed[:4] + b"\xff" * 50, 100) == b""


def test_the_highest_levels_of_zstd_are_unpacked() -> None:
    """Broken: of what a server packs as well as it can, nothing is read: it refers to bytes 16 MB before."""
    wide = zstandard.ZstdCompressionParameters.from_level(3, window_log=24)
    packed = zstandard.ZstdCompressor(compression_params=wide).compress(bytes(0xFFFFFF))
    assert len(unpack(packed, 0xFFFFFF)) == 131_072


def hostile() -> Iterator[tuple[str, Iterator[tuple[int, bytes, int]]]]:
    """Calls as (direction, bytes, how much was left out behind them)."""
    yield "commands that nobody answers", ((0, query("SELECT 1"), 0) for _ in range(5_000))
    rest = 0xFFFFFF - 8
    yield (
        "a statement of 2 GB",
        ((0, b"\xff\xff\xff" + bytes([at % 256]) + b"\x03SELECT ", rest) for at in range(128)),
    )
    yield "2 GB of row", ((1, b"\xff\xff\xff" + bytes([at % 256]) + b"\xfd" + bytes(7), rest) for at in range(128))
    columns = b"\1\0\0\1\xfc" + b"".join(column(at % 256) for at in range(2, 300))
    yield "columns without end", ((1, columns if at else query("SELECT 1"), 0) for at in range(200))
    for name, filling in (("nothing", b"\0"), ("pings", command(14)), ("answers", ok())):
        for pack in (zlib.compress, zstandard.compress):
            bomb = pack(filling * (0xFFFFFF // len(filling)))[:12_000]
            call = len(bomb).to_bytes(3, "little") + b"\0" + b"\xff\xff\xff" + bomb
            yield f"bombs of {name} by {pack.__module__}", zip((0, 1) * 10, [call] * 20, [0] * 20, strict=True)


@pytest.mark.parametrize("name", [name for name, _ in hostile()])
@pytest.mark.parametrize("capabilities", [0, 0x20, 1 << 26], ids=["plain", "zlib", "zstd"])
def test_hostile_input_is_bounded(name: str, capabilities: int) -> None:
    """Broken: one connection can fill a worker's memory."""
    calls = dict(hostile())[name]
    connection = MysqlConnection(Limits(open=256))
    connection.feed(1, greeting(), 0, 1)
    connection.feed(0, login(CAPABILITIES | capabilities), 0, 2)
    connection.feed(1, ok(2), 0, 3)
    tracemalloc.start()
    try:
        for at, (side, data, gap) in enumerate(calls, 4):
            connection.feed(side, data, gap, at)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (kept < 1 << 20, peak < 6 << 20) == (True, True), (name, kept, peak)  # a packet of ten thousand answers
