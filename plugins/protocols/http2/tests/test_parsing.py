"""Header blocks, streams and losses, case by case."""

import doctest
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import hpack
import pytest
from http2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PREFACE,
    PUSH_PROMISE,
    Side,
    frame,
    literal,
    request,
    reset,
    settings,
)

from rover_core.api import WireProtocol
from rover_core.model import Loss, TraceContext
from rover_core.wire import Connection, Exchange, Limits, Rendering
from rover_http2.connection import Http2Connection
from rover_http2.hpack import UNKNOWN, Decoder
from rover_http2.huffman import decode

C, S = 0, 1


def exchanges(*steps: tuple[int, bytes], limits: Limits | None = None) -> list[Exchange]:
    connection = Http2Connection(limits or Limits())
    found = [each for at, (side, data) in enumerate(steps, 1) for each in connection.feed(side, data, 0, at)]
    return [*found, *connection.close()]


def test_header_blocks_are_read_as_an_independent_library_reads_them() -> None:
    """Broken: one field is misread, and all that refer to it later."""
    dice = random.Random(7)
    encoder, decoder, theirs = hpack.Encoder(), Decoder(), hpack.Decoder()
    wanted = {"x-id", ":path", UNKNOWN}
    sparing = Decoder(wanted)
    for turn in range(600):
        if turn % 97 == 96:
            encoder.header_table_size = theirs.max_allowed_table_size = dice.choice((0, 64, 4096))
        names = ("accept", "x-id", "cookie", ":path", "etag")
        fields = [(dice.choice(names), dice.randbytes(dice.randint(0, 40)).hex()) for _ in range(dice.randint(1, 9))]
        never = dice.random() < 0.3  # added to the table
        block = encoder.encode([(*each, never) for each in fields], huffman=dice.random() < 0.7)
        assert decoder.decode(block) == (fields, True)
        assert [(name, value) for name, value in theirs.decode(block)] == fields
        (first, *others), whole = sparing.decode(block)
        assert (first[0], others, whole) == (fields[0][0], [each for each in fields[1:] if each[0] in wanted], True)


def test_of_a_connection_joined_later_what_is_new_is_known() -> None:
    """Broken: all requests of a connection that was there before the agent are dropped, or are another's."""
    encoder, decoder = hpack.Encoder(), Decoder()
    old, new = [("x-old", "before"), ("x-other", "old")], [("x-new", "after")]
    encoder.encode(old)
    decoder.forget()
    assert decoder.decode(encoder.encode(new)) == (new, True)
    assert decoder.decode(encoder.encode([*new, *old])) == ([*new, (UNKNOWN, UNKNOWN), (UNKNOWN, UNKNOWN)], False)
    assert decoder.decode(encoder.encode([("x-old", "again")]))[0] == [(UNKNOWN, "again")]


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",
        b"\x40",
        b"\x40\x05abc",
        b"\xff\xff\xff\xff\xff\xff\x7f",
        b"\x00\x81\xff",
        b"\x00\x84\xff\xff\xff\xff\x00",
    ],
)
def test_blocks_that_are_none(block: bytes) -> None:
    """Broken: nonsense raises what nobody catches, or is taken for a header."""
    with pytest.raises(ValueError, match=r"."):
        Decoder().decode(block)


def test_random_strings_end() -> None:
    """Broken: a string of a stranger's hangs the parser or raises something else."""
    dice = random.Random(3)
    for _ in range(2000):
        try:
            decode(dice.randbytes(dice.randint(0, 30)))
        except ValueError:
            continue


def test_a_promised_response() -> None:
    """Broken: pushed responses are missed, or told as requests of the client."""
    client, server = Side(), Side()
    asked, promise = client.get(1, "/page"), b"\0\0\0\2" + server.block(request("GET", "/style.css"))
    answers = server.answer(1, 200, b"page") + server.answer(2, 200, b"css")
    found = exchanges((C, PREFACE + asked), (S, frame(PUSH_PROMISE, END_HEADERS, 1, promise) + answers))
    assert [(each.operation, each.status, each.request_bytes > 0) for each in found] == [
        ("GET /page", "200", True),
        ("GET /style.css", "200", False),
    ]


def test_partial_headers_are_marked() -> None:
    """Broken: what is half known is told as if it were whole, or not at all."""
    client, server = Side(), Side()
    client.get(1, "/orders/9", x_shop="berlin"), server.answer(1, 200, server="x")
    (found,) = exchanges((C, client.get(3, "/orders/9")), (S, server.answer(3, 200, server="x")))
    assert (found.operation, found.status, found.complete) == ("GET ?", "200", False)
    (other,) = exchanges((C, client.get(5, "/other")), (S, server.answer(5, 200, server="x")))
    assert (other.operation, other.complete) == ("GET /other", False)


def test_a_gap_within_a_body_costs_nothing() -> None:
    """Broken: leaving out bodies loses requests."""
    client, server = Side(), Side()
    connection = Http2Connection(Limits())
    connection.feed(C, PREFACE + client.get(1, "/large"), 0, 1)
    head = server.headers(1, [(":status", "200")], END_HEADERS)
    connection.feed(S, settings() + head + frame(DATA, 0, 1, b"x" * 16_000)[:9], 16_000, 2)
    (found,) = connection.feed(S, frame(DATA, END_STREAM, 1, b"x" * 500)[:9], 500, 3)
    assert (found.complete, found.response_bytes) == (True, len(head) + 16_000 + 500 + 18)
    assert not connection.losses


def test_a_stream_that_lasts_is_told_once() -> None:
    """Broken: a stream of messages that is open for minutes is told in halves, or not at all."""
    client, server = Side(), Side()
    minute = 60_000_000_000
    connection = Http2Connection(Limits())
    connection.feed(C, PREFACE + client.get(1, "/events"), 0, 1)
    connection.feed(S, server.headers(1, [(":status", "200")], END_HEADERS), 0, 2)
    for turn in range(1, 5):
        connection.feed(S, frame(DATA, 0, 1, b"event"), 0, turn * minute)
        assert not connection.expire(turn * minute - minute // 2)
    (found,) = connection.feed(S, frame(DATA, END_STREAM, 1), 0, 5 * minute)
    assert (found.status, found.duration_ns, found.complete) == ("200", 5 * minute - 1, True)


def hostile() -> Iterator[tuple[str, Iterator[tuple[int, bytes]]]]:
    client = Side()
    endless = client.headers(1, request("GET", "/"), 0)
    yield (
        "CONTINUATION flood",
        ((C, endless if not at else frame(CONTINUATION, 0, 1, b"x" * 900)) for at in range(3000)),
    )
    yield "empty CONTINUATION", ((C, endless if not at else frame(CONTINUATION, 0, 1)) for at in range(20_000))
    big = b"\x82\x86" + literal(":path", "/") + b"\x40\x01a\x7f\x81\x1e" + b"v" * 4000
    bomb = big + b"\xbe" * 12_000
    yield "header bomb", ((C, frame(HEADERS, 4, at * 2 + 1, bomb)) for at in range(300))
    streams = (frame(HEADERS, 4, at * 2 + 1, b"\x82\x86\x84") for at in range(100_000))
    yield "open streams", ((C, b"".join(part)) for part in zip(*[streams] * 100, strict=True))
    yield "resets", ((S, b"".join(reset(at * 200 + k, 1) for k in range(1, 200, 2))) for at in range(500))
    grows = (b"\x40\x08" + b"%08d" % at + b"\x04" + b"data" for at in range(50_000))
    table = (b"\x82\x86\x84\x3f\xe1\xff\x03" + b"".join(part) for part in zip(*[grows] * 100, strict=True))
    yield "tables", ((C, frame(HEADERS, 5, at * 2 + 1, block)) for at, block in enumerate(table))


@pytest.mark.parametrize(("name", "steps"), list(hostile()), ids=lambda each: each if isinstance(each, str) else "")
def test_hostile_input_is_bounded(name: str, steps: Iterator[tuple[int, bytes]]) -> None:
    """Broken: one connection can fill a worker's memory, or take its time."""
    connection: Connection = Http2Connection(Limits(open=256))
    tracemalloc.start()
    try:
        for at, (side, data) in enumerate(steps, 1):
            connection.feed(side, data, 0, at)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2 << 20, name
    assert peak < 4 << 20, name
    if name == "open streams":
        assert connection.losses[Loss.OVER_LIMIT] > 90_000


def test_text_without_secrets(protocol: WireProtocol) -> None:
    """Broken: a sample shows a cookie, half a body, or nothing."""
    client, server = Side(), Side()
    more = {"cookie": "session=geheim", "authorization": "Bearer geheim", "content_type": "application/json"}
    asked = client.post(1, "/login?token=geheim&page=2", b'{"password": "geheim", "user": "jo"}', **more)
    found = exchanges(
        (C, PREFACE + asked),
        (S, server.answer(1, 200, b"welcome", content_type="text/plain", set_cookie="a=geheim")),
        limits=Limits(content=1000),
    )
    assert protocol.render
    texts = [protocol.render(each, Rendering()) for each in (found[0].request, found[0].response) if each]
    assert texts[0].startswith("POST /login?token=[redacted]&page=2 HTTP/2\n:scheme: http\n:authority: shop\n")
    assert '"user": "jo"' in texts[0]
    assert texts[1].startswith("HTTP/2 200\n")
    assert texts[1].endswith("\n\nwelcome")
    assert "geheim" not in "".join(texts)
    assert len(protocol.render(found[0].request, Rendering(most=60)).encode()) <= 60  # type: ignore[arg-type]


def test_the_trace_of_a_request(protocol: WireProtocol) -> None:
    """Broken: sampled exchanges are not joined to their traces."""
    traceparent = f"00-{'a' * 32}-{'b' * 16}-01"
    (found,) = exchanges((C, PREFACE + Side().get(1, "/", traceparent=traceparent)), (S, Side().answer(1, 200)))
    assert protocol.trace(found) == TraceContext("zipkin", "a" * 32, "", "b" * 16)
    assert protocol.subject(found) == "/"


def test_the_readme_says_what_is_so() -> None:
    """Broken: the README's example prints something else."""
    readme = Path(__file__).parents[1] / "README.md"
    assert doctest.testfile(str(readme), module_relative=False).failed == 0
