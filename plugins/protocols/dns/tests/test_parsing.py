"""What the parser says of messages, beyond what the suite of all protocols asks."""

import struct
import tracemalloc

import pytest

from rover_core.api import WireProtocol
from rover_core.model import Loss
from rover_core.wire import Exchange, Limits
from rover_dns.connection import DnsConnection, DnsConversation
from rover_dns.messages import CUT, TOO_LONG, parse, read_name
from rover_dns.numbers import code_name, operation, operation_class, type_name
from rover_dns.records import answers

A, TXT, OPT, AXFR = 1, 16, 41, 252
WWW = b"\3www\1h\0"
ADDRESS = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x0a\0\0\1"


def message(number: int, flags: int, counts: tuple[int, int, int, int], rest: bytes) -> bytes:
    return struct.pack("!6H", number, flags, *counts) + rest


def ask(number: int, name: bytes = WWW, kind: int = A) -> bytes:
    return message(number, 0x0100, (1, 0, 0, 0), name + struct.pack("!2H", kind, 1))


def answer(number: int, name: bytes = WWW, kind: int = A, code: int = 0) -> bytes:
    return message(number, 0x8180 | code, (1, 1, 0, 0), name + struct.pack("!2H", kind, 1) + ADDRESS)


def conversation(*steps: tuple[int, bytes]) -> list[Exchange]:
    """What comes of datagrams a microsecond apart, the end included."""
    connection = DnsConversation(Limits())
    found = [each for at, (side, data) in enumerate(steps, 1) for each in connection.feed(side, data, 0, at * 1000)]
    return [*found, *connection.close()]


def numbers(protocol: WireProtocol, exchange: Exchange) -> dict[str, int | None]:
    return {metric.name: metric.value(exchange) for metric in protocol.metrics}


def test_queries_that_are_sent_again_and_those_that_nobody_answers(protocol: WireProtocol) -> None:
    """Broken: resolvers that drop queries look as if they were fast."""
    lost, found, silent = conversation((0, ask(1)), (0, ask(1)), (1, answer(1)), (0, ask(2)))
    assert (lost.paired, found.duration_ns, silent.status) == (False, 1000, "")
    assert numbers(protocol, lost) == {"answers": None, "truncated": None, "retries": 0, "unanswered": 1}
    assert numbers(protocol, found) == {"answers": 1, "truncated": 0, "retries": 1, "unanswered": 0}
    assert numbers(protocol, silent)["unanswered"] == 1


def test_time_makes_a_query_unanswered() -> None:
    """Broken: a query is open for as long as its socket, and is never counted."""
    connection = DnsConversation(Limits())
    connection.feed(0, ask(1), 0, 1_000)
    assert not connection.expire(1_000)
    (late,) = connection.expire(2_000)
    assert (late.operation, late.status, late.paired) == ("A www.h", "", False)


def test_an_id_alone_is_no_match() -> None:
    """Broken: an answer to something else, forged or late, is taken for the answer."""
    forged, found = conversation((0, ask(1)), (1, answer(1, b"\4evil\1h\0")), (1, answer(1)))[::-1]
    assert (found.operation, found.paired) == ("A www.h", True)
    assert (forged.operation, forged.request) == ("A evil.h", None)


def test_what_does_not_fit_is_counted(protocol: WireProtocol) -> None:
    """Broken: nobody sees why half of the queries come again over TCP."""
    (found,) = conversation((0, ask(1)), (1, message(1, 0x8380, (1, 0, 0, 0), WWW + b"\0\1\0\1")))
    assert (found.status, numbers(protocol, found)["truncated"]) == ("NOERROR", 1)


def test_a_long_answer_over_tcp_needs_only_its_beginning() -> None:
    """Broken: answers that are longer than what is captured of a call are lost, or have no size."""
    whole = answer(1)[:-2] + bytes(3000)
    whole = whole[:6] + struct.pack("!H", 40) + whole[8:]
    connection = DnsConnection(Limits())
    connection.feed(0, struct.pack("!H", len(ask(1))) + ask(1), 0, 1)
    sent = struct.pack("!H", len(whole)) + whole
    (found,) = connection.feed(1, sent[:1280], len(sent) - 1280, 2)
    assert (found.operation, found.status, found.complete, found.response_bytes) == (
        "A www.h",
        "NOERROR",
        True,
        len(sent),
    )
    assert not connection.losses


def test_a_datagram_without_its_question_is_counted() -> None:
    """Broken: what was not captured vanishes without a trace."""
    connection = DnsConversation(Limits())
    assert not connection.feed(0, ask(1)[:15], 8, 1)
    assert not connection.feed(0, b"\x17\xfe\xfd" + bytes(50), 0, 2)
    assert connection.losses == {Loss.GAP: 1, Loss.UNREADABLE: 1}
    assert connection.stray_bytes == 15 + 53


def test_a_zone_that_never_ends_is_an_answer_all_the_same() -> None:
    """Broken: a zone transfer whose end was not captured is never reported."""
    connection = DnsConnection(Limits())
    for side, data in ((0, ask(1, kind=AXFR)), (1, answer(1, kind=AXFR)), (1, answer(1, kind=AXFR))):
        assert not connection.feed(side, struct.pack("!H", len(data)) + data, 0, 5)
    (found,) = connection.expire(6)
    assert (found.operation, found.complete, found.response_bytes) == ("AXFR www.h", False, 2 * len(answer(1)) + 4)


@pytest.mark.parametrize(
    ("name", "operation_name"),
    [
        ("WWW.Example.org", "A www.example.org"),
        ("10-0-3-27.default.pod.cluster.local", "A {}.default.pod.cluster.local"),
        ("4.3.2.1.in-addr.arpa", "A {}.in-addr.arpa"),
        ("1.0.0.0.0.0.8.b.d.0.1.0.0.2.IP6.ARPA", "A {}.ip6.arpa"),
        ("Living Room._airplay._tcp.local", "A {}._airplay._tcp.local"),
        ("d41d8cd98f00b204.hash.example.org", "A {}.hash.example.org"),
        ("a.b.c.d.e.f.g.h.i.org", "A {}.c.d.e.f.g.h.i.org"),
        ("x" * 50 + ".tunnel.org", "A {}.tunnel.org"),
        ("\\xff\\x00.org", "A {}.org"),
        ("s3-eu-west-1.amazonaws.com", "A s3-eu-west-1.amazonaws.com"),
        ("", "A ."),
        (TOO_LONG, "A {}"),
    ],
)
def test_operations(name: str, operation_name: str) -> None:
    """Broken: every address and every tunnelled word is a row of its own."""
    assert operation(0, A, name) == operation_name


def test_numbers_have_names() -> None:
    """Broken: tables show numbers, or labels of metrics that strangers invent."""
    assert [type_name(each) for each in (1, 28, 65, 255, 257, 65280)] == [
        "A",
        "AAAA",
        "HTTPS",
        "ANY",
        "CAA",
        "TYPE65280",
    ]
    assert [code_name(each) for each in (0, 2, 3, 5, 16, 23, 4000)] == [
        "NOERROR", "SERVFAIL", "NXDOMAIN", "REFUSED", "BADVERS", "BADCOOKIE", "RCODE4000",
    ]  # fmt: skip
    assert [operation_class(*each) for each in ((0, 28), (0, 65280), (5, 6))] == ["AAAA", "OTHER", "UPDATE"]


LABELS = (b"\x3f" + b"a" * 63) * 3


@pytest.mark.parametrize(
    ("data", "name", "behind"),
    [
        (WWW, "www.h", 7),
        (b"\0", "", 1),
        (b"\3a.b\1h\0", "a\\.b.h", 7),
        (b"\2\xff\\\1h\0", "\\xff\\\\.h", 6),
        (LABELS + b"\x3d" + b"a" * 61 + b"\0", ".".join(["a" * 63] * 3 + ["a" * 61]), 255),
        (LABELS + b"\x3e" + b"a" * 62 + b"\0", TOO_LONG, 256),
        (WWW[:-1], None, CUT),
        (WWW[:3], None, CUT),
        (b"\3www\xc0", None, CUT),
        (b"\x40a\0", None, -1),
        (b"\xc0\x0c", None, -1),  # to itself
        (b"\xc0\x20\0", None, -1),  # forwards
        (b"\1a\xc0\x0c", None, -1),  # round and round
    ],
)
def test_names(data: bytes, name: str | None, behind: int) -> None:
    """Broken: names are misread, or a loop of pointers never ends."""
    at = 12
    found = read_name(bytes(at) + data, at, 0, at + len(data))
    assert found == (name, behind + at if behind > 0 else behind)


def test_many_pointers_take_no_time() -> None:
    """Broken: 64 KB of pointers into each other are a second of work."""
    data = message(
        1, 0x8180, (1, 5000, 0, 0), b"\1a" * 120 + b"\0\0\1\0\1" + (b"\xc0\x0c\0\1\0\1\0\0\0\0\0\0") * 5000
    )
    found = parse(data, 0, len(data))
    assert found is not None
    assert len(list(answers(found, data))) == 5000


def test_records_as_text() -> None:
    """Broken: sampled answers cannot be read, or a record that lies about its length raises."""
    mail = b"\xc0\x0c\0\x0f\0\1\0\0\0\x3c\0\4\0\x0a\xc0\x0c"
    text = b'\xc0\x0c\0\x10\0\1\0\0\0\x3c\0\5\1a\2b"'
    data = message(1, 0x8180, (1, 3, 0, 0), WWW + b"\0\xff\0\1" + ADDRESS + mail + text)
    detail = parse(data, 0, len(data))
    assert detail is not None
    assert [(each.type, each.data) for each in answers(detail, data)] == [
        ("A", "10.0.0.1"), ("MX", "10 www.h"), ("TXT", '"a" "b\\""'),
    ]  # fmt: skip
    for at in range(len(data)):
        broken = data[:at] + b"\xff" + data[at + 1 :]
        for each in (broken, data[:at]):
            if found := parse(each, 0, len(each)):
                list(answers(found, each))


@pytest.mark.parametrize("over_tcp", [False, True])
def test_a_million_queries_that_nobody_answers(over_tcp: bool) -> None:
    """Broken: a flood of queries, each with another question, fills the agent's memory."""
    connection = DnsConnection(Limits(open=256)) if over_tcp else DnsConversation(Limits(open=256))
    seen = 0
    tracemalloc.start()
    try:
        for at in range(5_000):
            query = ask(at, b"\x06" + b"%06d" % at + WWW)
            data = struct.pack("!H", len(query)) + query if over_tcp else query
            seen += len(connection.feed(0, data, 0, at + 1))
        operation.cache_clear()  # names of all connections, so many at most
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (kept < 1 << 20, peak < 2 << 20) == (True, True), (kept, peak)
    assert seen == connection.losses[Loss.OVER_LIMIT] == 5_000 - 256
    assert len(connection.close()) == 256
