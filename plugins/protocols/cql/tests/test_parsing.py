"""What the parser says of messages, beyond what the suite of all protocols asks."""

import doctest
import random
import struct
import tracemalloc
from pathlib import Path

import lz4.block
import pytest
import snappy
from cql_messages import (
    AUTH_RESPONSE,
    ID,
    QUERY,
    batch,
    envelope,
    error,
    execute,
    frame,
    long_string,
    parameters,
    prepare,
    prepared,
    query,
    result,
    rows,
    startup,
    string,
    value,
)

from rover_core.api import WireProtocol
from rover_core.model import Loss
from rover_core.wire import Exchange, Limits, Rendering
from rover_core.wire.blocks import lz4 as lz4_beginning
from rover_core.wire.blocks import snappy as snappy_beginning
from rover_cql import connection as naming
from rover_cql.connection import CqlConnection
from rover_cql.digest import digest, statement_class
from rover_cql.frames import crc24

TEXT = "SELECT name FROM shop.orders WHERE id = 4711"
NAMED = "SELECT name FROM shop.orders WHERE id = ?"
SECRETS = "INSERT INTO t (a, b) VALUES ('s3cr3t', 'it''s s3cr3t')"


def exchanged(request: bytes, response: bytes = b"", gap: int = 0) -> Exchange:
    connection = CqlConnection(Limits())
    connection.feed(0, request, 0, 1_000)
    found = [*connection.feed(1, response, gap, 5_000), *connection.close()]
    assert len(found) == 1
    return found[0]


MAPS = "UPDATE t SET m = {'a': 1, 'b': {2, 3}}, l = [1, 2], d = 1h30m, p = P1Y2M"


@pytest.mark.parametrize(
    ("statement", "operation"),
    [
        ("SELECT * FROM t WHERE a = 'x' AND b = 1.5e-3 AND c=-7;", "SELECT * FROM t WHERE a = ? AND b = ? AND c=?"),
        ("SELECT a FROM t WHERE id = f47ac10b-58cc-4372-a567-0e02b2c3d479", "SELECT a FROM t WHERE id = ?"),
        ("SELECT a FROM t WHERE id IN (1, 2,3) AND b = 0xCAFE", "SELECT a FROM t WHERE id IN (?) AND b = ?"),
        ("INSERT INTO t (a, b) VALUES (?, 'it''s')", "INSERT INTO t (a, b) VALUES (?)"),
        (MAPS, "UPDATE t SET m = {?}, l = [?], d = ?, p = ?"),
        ("UPDATE t SET m = {1:2,a1b2c3d4-58cc-4372-a567-0e02b2c3d479:true}", "UPDATE t SET m = {?}"),
        ("UPDATE t SET a = :name, n = n + 5 WHERE x = $$s3cr3t's$$", "UPDATE t SET a = :name, n = n + ? WHERE x = ?"),
        ("CREATE ROLE j WITH PASSWORD = 's3cr3t' AND LOGIN = true", "CREATE ROLE j WITH PASSWORD = ? AND LOGIN = ?"),
        ('SELECT "A" FROM "My T" -- s3cr3t\nWHERE /* s3cr3t */ a=1 // s3cr3t', 'SELECT "A" FROM "My T" WHERE a=?'),
        ("SELECT col1, t2.c3 FROM ks1.t_4 WHERE truest = false", "SELECT col1, t2.c3 FROM ks1.t_4 WHERE truest = ?"),
        ("INSERT INTO t JSON '{\"a\": \"s3cr3t\"", "INSERT INTO t JSON ?"),
        ("BEGIN BATCH DELETE FROM t WHERE a=1; APPLY BATCH", "BEGIN BATCH DELETE FROM t WHERE a=?; APPLY BATCH"),
    ],
)  # fmt: skip
def test_operations_hold_no_values(statement: str, operation: str) -> None:
    """Broken: what somebody wrote or asked for is in the tables, or there is an operation for every value."""
    assert exchanged(query(1, statement)).operation == operation


def test_a_cut_statement_tells_no_half_of_a_value() -> None:
    """Broken: the beginning of a literal in front of the limit is shown as if it were a name."""
    for end in range(len(SECRETS)):
        assert "s3c" not in digest(SECRETS[:end], cut=True)
    identity = "SELECT a FROM t WHERE id = f47ac10b-58cc-4372-a567-0e02b2c3d479"
    for end in range(28, len(identity)):
        assert "f4" not in digest(identity[:end], cut=True)
    assert (
        exchanged(query(1, f"INSERT INTO t (a) VALUES ('{'x' * 9000}')")).operation == "INSERT INTO t (a) VALUES (?"
    )
    assert len(exchanged(query(1, "SELECT " + "column_name, " * 90)).operation) == 512


def test_classes_are_few() -> None:
    """Broken: statements that nobody knows make a class of metrics each."""
    words = ["select", "BEGIN", "Apply", "frobnicate", "", "(select"]
    assert [statement_class(word) for word in words] == ["SELECT", "BATCH", "OTHER", "OTHER", "OTHER", "SELECT"]


def test_a_statement_prepared_before_is_said_to_be_unknown() -> None:
    """Broken: who joins late is told nonsense, or nothing, of statements that were prepared before."""
    unknown = bytes(range(100, 116))
    assert exchanged(execute(1, unknown)).operation == "EXECUTE (unknown statement)"
    assert exchanged(batch(1, unknown, "DELETE FROM t")).operation == "BATCH (unknown statement); DELETE FROM t"
    assert exchanged(prepare(1, TEXT), prepared(1, unknown)).operation == f"PREPARE {NAMED}"
    assert exchanged(execute(1, unknown), rows(1)).operation == NAMED  # on another connection
    assert exchanged(execute(1, unknown)).operation_class == "SELECT"


def test_what_is_remembered_of_statements_is_bounded() -> None:
    """Broken: a client that prepares every statement anew fills the agent's memory."""
    connection = CqlConnection(Limits())
    for number in range(5000):
        connection.feed(0, prepare(1, f"SELECT c{number} FROM t"), 0, number * 2 + 1)
        connection.feed(1, prepared(1, number.to_bytes(16, "big")), 0, number * 2 + 2)
    assert len(naming._statements) == naming._KNOWN_IDS


def test_numbers_of_an_exchange(protocol: WireProtocol) -> None:
    """Broken: rows, statements of a batch, missing replicas or quorums are wrong."""
    value_of = {metric.name: metric.value for metric in protocol.metrics}
    asked = exchanged(query(1, TEXT), rows(1, b"a", b"b"))
    assert (value_of["rows"](asked), value_of["quorum"](asked), value_of["batched"](asked)) == (2, 1, None)
    refused = exchanged(batch(1, ID, "DELETE FROM t"), error(1, 0x1000, struct.pack("!Hii", 4, 3, 1)))
    assert (value_of["batched"](refused), value_of["missing_replicas"](refused), value_of["rows"](refused)) == (
        2,
        2,
        None,
    )
    one = envelope(QUERY, 1, long_string(TEXT) + struct.pack("!HB", 1, 0))
    assert value_of["quorum"](exchanged(one)) == 0


def test_every_error_has_its_name() -> None:
    """Broken: an error of the specification is shown by another's name."""
    names = {
        0x0000: "SERVER_ERROR", 0x000A: "PROTOCOL_ERROR", 0x0100: "BAD_CREDENTIALS", 0x1001: "OVERLOADED",
        0x1002: "IS_BOOTSTRAPPING", 0x1003: "TRUNCATE_ERROR", 0x1600: "CDC_WRITE_FAILURE", 0x2100: "UNAUTHORIZED",
        0x2200: "INVALID", 0x2300: "CONFIG_ERROR",
    }  # fmt: skip
    for code, name in names.items():
        found = exchanged(query(1, TEXT), error(1, code))
        assert (found.status, found.error) == (name, True)
    for code, name in {0x1200: "READ_TIMEOUT", 0x1300: "READ_FAILURE", 0x1500: "WRITE_FAILURE"}.items():
        found = exchanged(query(1, TEXT), error(1, code, struct.pack("!Hii", 5, 1, 3) + bytes(16)))
        assert (found.status, found.response and found.response.detail.required) == (name, 3)


def test_text_for_people_holds_no_secret(protocol: WireProtocol) -> None:
    """Broken: values that were bound, tokens of logins or what an error cites are in samples."""
    assert protocol.render is not None
    pairs = [
        (query(1, SECRETS), error(1, 0x2000)),
        (execute(1, ID, values=[b"s3cr3t"]), rows(1, b"s3cr3t")),
        (batch(1, SECRETS, ID), error(1, 0x1100, struct.pack("!Hii", 4, 1, 2) + string("BATCH"))),
        (envelope(AUTH_RESPONSE, 1, value(b"\0jane\0s3cr3t")), error(1, 0x0100)),
    ]
    told = ""
    for request, response in pairs:
        found = exchanged(request, response)
        for message in (found.request, found.response):
            assert message is not None
            told += protocol.render(message, Rendering()) + "\n"
            assert len(protocol.render(message, Rendering(most=20)).encode()) <= 20
    assert "s3cr3t" not in told
    assert "secret" not in told
    for said in (
        "consistency QUORUM",
        "INSERT INTO t (a, b) VALUES (?)",
        "SYNTAX_ERROR",
        "1 of 2 replicas for QUORUM",
    ):
        assert said in told


def test_long_answers_of_which_the_beginning_was_captured() -> None:
    """Broken: every answer that is longer than what is captured of it is shown as incomplete."""
    many = [bytes(1000)] * 200
    for whole in (rows(1, *many), frame(rows(1, *many[:100], version=5))):
        found = exchanged(query(1, TEXT), whole[:1024], len(whole) - 1024)
        assert (found.complete, found.response_bytes, found.response and found.response.detail.columns) == (
            True,
            len(whole),
            1,
        )
    in_frames = rows(1, *many, version=5)
    sent = b"".join(frame(in_frames[at : at + 100_000], contained=False) for at in range(0, len(in_frames), 100_000))
    found = exchanged(query(1, TEXT), sent[:1024], len(sent) - 1024)  # the next frames' headers are in the gap
    assert (found.complete, found.response_bytes) == (True, len(sent))


def test_many_messages_in_a_call_of_which_some_were_not_captured() -> None:
    """Broken: what was not captured is lost without a count, or what follows with it."""
    connection = CqlConnection(Limits())
    asked = frame(b"".join(query(number, TEXT, 5) for number in range(20)))
    connection.feed(0, asked[:600], len(asked) - 600, 1)
    connection.feed(0, frame(query(50, TEXT, 5)), 0, 2)
    assert connection.losses == {Loss.GAP: 1}
    said = frame(b"".join(rows(number, version=5) for number in [*range(20), 50]))
    found = [*connection.feed(1, said, 0, 3), *connection.close()]
    assert [each.response.detail.stream for each in found if each.complete and each.response] == [*range(8), 50]
    assert len(found) == 21


PLAIN = b"".join(b"number %d and again and again, " % (n % 7) + bytes(n % 50) for n in range(400))


@pytest.mark.parametrize(
    ("read", "coded"),
    [(lz4_beginning, lz4.block.compress(PLAIN, store_size=False)), (snappy_beginning, snappy.compress(PLAIN))],
    ids=["lz4", "snappy"],
)
def test_beginnings_of_blocks(read, coded: bytes) -> None:  # type: ignore[no-untyped-def]
    """Broken: compressed messages are misread, or only whole ones are read."""
    assert read(coded, 1 << 20) == PLAIN
    assert read(coded, 700) == PLAIN[:700]
    for end in range(len(coded)):
        assert PLAIN.startswith(read(coded[:end], 4096))
    dice = random.Random(1)
    for _ in range(500):
        assert len(read(dice.randbytes(200), 4096)) <= 4096


def test_hostile_sizes_and_bombs_are_bounded() -> None:
    """Broken: a few bytes from a stranger are a gigabyte of memory, or seconds of work."""
    lz4_bomb = b"\x1fa\1\0" + b"\xff" * 60_000
    snappy_bomb = b"\xff\xff\xff\xff\x0f\x00a" + b"\xfe\x01\0" * 20_000
    bodies = [struct.pack("!I", 0x00FFFFFF) + lz4_bomb, snappy_bomb]
    calls = [struct.pack("!BBhBI", 4, 1, 1, QUERY, len(body)) + body for body in bodies]
    calls += [frame(query(1, "SELECT 1" + " " * 120_000, 5), compress=True)]
    calls += [struct.pack("!BBhBI", 4, 0, 1, QUERY, 0x7FFFFFFF) + bytes(50_000)]
    calls += [envelope(13, 1, struct.pack("!BH", 0, 65_535) + b"\0" + long_string("SELECT 1") + bytes(40_000))]
    calls += [envelope(QUERY, 1, struct.pack("!I", 0x7FFFFFFF) + bytes(4000))]
    for call in calls:
        connection = CqlConnection(Limits())
        tracemalloc.start()
        connection.feed(0, call, 0, 1)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 600_000


def test_a_million_open_streams() -> None:
    """Broken: requests that nobody answers are kept without bound."""
    connection = CqlConnection(Limits(open=256))
    call = b"".join(query(number, TEXT) for number in range(100))
    seen = 0
    for start in range(0, 40_000, 100):
        seen += len(
            connection.feed(0, call.replace(b"\x04\x00\x00", b"\x04\x00" + bytes([start // 100 % 127])), 0, start)
        )
    assert len(connection.close()) <= 256
    assert connection.losses[Loss.OVER_LIMIT] > 39_000 - 256
    assert seen > 39_000


def test_the_checksum_of_a_header() -> None:
    """Broken: frames of real servers are taken for nonsense. The header is one of Apache Cassandra's."""
    head = bytes.fromhex("150002")
    assert crc24(head, 0, 3) == _bitwise(head)


def _bitwise(data: bytes) -> int:
    crc = 0x875060
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc = crc << 1 ^ (0x1974F0B if crc & 0x800000 else 0)
    return crc


def test_a_broken_payload_is_not_believed() -> None:
    """Broken: what a checksum says is broken is shown as an exchange."""
    connection = CqlConnection(Limits())
    broken = bytearray(frame(query(1, TEXT, 5)))
    broken[30] ^= 1
    connection.feed(0, bytes(broken), 0, 1)
    assert connection.losses == {Loss.UNREADABLE: 1}
    connection.feed(0, frame(query(2, TEXT, 5)), 0, 2)
    assert [each.operation for each in connection.feed(1, frame(result(2, version=5)), 0, 3)] == [NAMED]


def test_values_may_be_many_and_named() -> None:
    """Broken: pages, serial consistency and what else stands behind values is missed."""
    values = [b"s3cr3t", None, b"x" * 500]
    body = long_string(TEXT) + parameters(values, page_size=100, paging=b"state", serial=9)
    found = exchanged(envelope(QUERY, 1, body))
    assert found.request is not None
    detail = found.request.detail
    assert (detail.values, detail.page_size, detail.continued, detail.serial) == (3, 100, True, "LOCAL_SERIAL")
    assert exchanged(startup(COMPRESSION="lz4")).operation == "STARTUP"


def test_the_readme_says_what_is_so() -> None:
    """Broken: the README's example prints something else."""
    readme = Path(__file__).parents[1] / "README.md"
    assert doctest.testfile(str(readme), module_relative=False).failed == 0
