"""What the parser says of messages, beyond what the suite of all protocols asks."""

import gzip
import tracemalloc
from base64 import b64encode
from collections.abc import Callable, Iterator

import pytest

from rover_core.api import WireProtocol
from rover_core.model import Loss
from rover_core.wire import Exchange, Limits, TraceContext
from rover_http1.connection import Http1Connection
from rover_http1.messages import Length, framing, parse_request, parse_response

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def exchanges(*steps: tuple[int, bytes, int], limits: Limits | None = None) -> list[Exchange]:
    """What comes of (direction, data, gap) steps a microsecond apart, the connection's close included."""
    connection = Http1Connection(limits or Limits())
    found = [each for at, step in enumerate(steps, 1) for each in connection.feed(*step, at * 1000)]
    return [*found, *connection.close()]


def test_sizes_and_times_are_those_of_the_wire() -> None:
    """Broken: sizes lack headers, framing or what was not captured; durations include waiting for the request."""
    (found,) = exchanges((0, GET[:7], 0), (0, GET[7:], 0), (1, OK % 5000 + b"x" * 100, 4000), (1, b"", 900))
    assert (found.request_bytes, found.response_bytes) == (len(GET), len(OK % 5000) + 5000)
    assert (found.start_ns, found.end_ns, found.duration_ns) == (1000, 4000, 3000)
    assert found.complete


def test_a_write_counts_from_when_it_began() -> None:
    """Broken: an upload to a slow server is shown as quick."""
    connection = Http1Connection(Limits())
    connection.feed(0, GET, 0, 9_000, began_ns=2_000)
    (found,) = connection.feed(1, OK % 0, 0, 10_000)
    assert (found.start_ns, found.duration_ns) == (2_000, 8_000)


@pytest.mark.parametrize("gap", [5, 7])
def test_the_last_chunk_may_lie_behind_the_captured_part_of_a_call(gap: int) -> None:
    """Broken: chunked responses longer than what is captured of a call never end."""
    connection = Http1Connection(Limits())
    connection.feed(0, GET, 0, 1)
    body = b"a\r\n0123456789" + (b"\r\n" if gap == 5 else b"")
    (found,) = connection.feed(1, CHUNKED + body, gap, 2)
    assert (found.response_bytes, found.complete) == (len(CHUNKED + body) + gap, False)
    assert not connection.losses


def test_a_response_whose_framing_is_lost_lasts_until_the_next() -> None:
    """Broken: status and duration of long chunked responses are lost for a gap in them."""
    first, second = exchanges(
        (0, GET, 0), (1, CHUNKED + b"5\r\nhel", 1000), (1, b"more", 0), (0, GET, 0), (1, OK % 0, 0)
    )
    assert (first.status, first.complete, first.response_bytes) == ("200", False, len(CHUNKED) + 6 + 1000 + 4)
    assert first.end_ns == 3000
    assert (second.status, second.complete) == ("200", True)


def test_content_is_head_and_body_without_framing() -> None:
    """Broken: sampled text has chunk sizes in it, is longer than asked for, or belongs to another message."""
    steps = (
        (0, GET, 0),
        (1, CHUNKED + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", 0),
        (0, GET, 0),
        (1, OK % 2 + b"ok", 0),
    )
    first, second = exchanges(*steps, limits=Limits(content=len(CHUNKED) + 8))
    assert first.request is not None
    assert first.response is not None
    assert second.response is not None
    assert (first.request.content, first.response.content) == (GET, CHUNKED + b"hello wo")
    assert second.response.content == OK % 2 + b"ok"


def test_a_body_is_compressed_as_it_was_sent() -> None:
    """Broken: a sampled gzip body cannot be unpacked."""
    body = gzip.compress(b"text")
    (found,) = exchanges((0, GET, 0), (1, OK % len(body) + body, 0), limits=Limits(content=1000))
    assert found.response is not None
    assert gzip.decompress(found.response.content[len(found.response.detail.head) :]) == b"text"


def test_an_upgrade_hands_over_what_follows() -> None:
    """Broken: HTTP/2 after an upgrade begins in the middle, or is read as HTTP/1."""
    connection = Http1Connection(Limits())
    connection.feed(0, b"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n", 0, 1)
    connection.feed(0, b"PRI * HTTP", 0, 2)
    (found,) = connection.feed(1, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n\x00\x00\x00\x04", 0, 3)
    assert (found.status, connection.switched) == ("101", "h2c")
    assert (connection.unread(0), connection.unread(1)) == (b"PRI * HTTP", b"\x00\x00\x00\x04")


def test_http2_without_asking_is_handed_over_whole() -> None:
    """Broken: a connection that was taken for HTTP/1 stays unread."""
    connection = Http1Connection(Limits())
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    assert not connection.feed(0, preface, 0, 1)
    assert (connection.switched, connection.unread(0)) == ("h2c", preface)


def test_what_is_not_http_shows_as_stray_bytes() -> None:
    """Broken: a wrong first verdict is never noticed."""
    connection = Http1Connection(Limits())
    for at in range(20):
        connection.feed(1, b"\x17\x03\x03" + bytes(1000), 0, at)
    assert connection.stray_bytes > 15_000
    assert connection.losses == {Loss.UNREADABLE: 1}


def test_limits_are_counted() -> None:
    """Broken: an endless head is kept, or vanishes without a trace."""
    connection = Http1Connection(Limits(buffered=1000))
    connection.feed(0, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200, 0, 1)
    assert connection.losses == {Loss.OVER_LIMIT: 1}
    connection.feed(1, OK % 0, 0, 2)
    connection.feed(0, GET, 0, 3)
    assert [each.operation for each in connection.feed(1, OK % 0, 0, 4)] == ["GET /a"]


def test_a_body_of_two_to_the_sixty_bytes() -> None:
    """Broken: a length that nobody sends is kept in memory, or its arithmetic fails."""
    (found,) = exchanges((0, GET, 0), (1, OK % (1 << 60), 0), (1, b"x" * 1000, 1 << 40))
    assert (found.complete, found.response_bytes) == (False, len(OK % (1 << 60)) + 1000 + (1 << 40))


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        (b"", Length.UNSAID),
        (b"Content-Length: 12\r\n", 12),
        (b"content-length:12, 12\r\n", 12),
        (b"Content-Length: 12\r\nTransfer-Encoding: chunked\r\n", Length.CHUNKED),
        (b"Transfer-Encoding: gzip\r\nTransfer-Encoding: Chunked \r\n", Length.CHUNKED),
        (b"Transfer-Encoding: identity\r\n", Length.UNSAID),
        (b"X-Content-Length: 12\r\n", Length.UNSAID),
        (b"Transfer-Encoding:\r\n\t chunked\r\n", Length.CHUNKED),
    ],
)
def test_where_a_body_ends(headers: bytes, length: int | Length) -> None:
    """Broken: the rest of the connection is read as this body, or this body as messages."""
    found = framing(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n")
    assert found is not None
    assert found.length == length


@pytest.mark.parametrize("value", [b"-1", b"+1", b"1x", b"", b"9" * 5000, b"0x10"])
def test_lengths_that_are_none(value: bytes) -> None:
    """Broken: nonsense raises, or is taken for a number."""
    assert framing(b"GET / HTTP/1.1\r\nContent-Length: " + value + b"\r\n\r\n") is None


@pytest.mark.parametrize(
    "line",
    [b"", b"HTTP/1.1 200 OK", b"ET / HTTP/1.1", b"}GET / HTTP/1.1", b"/ HTTP/1.1", b"USER anonymous", b"GET\0 /"],
)
def test_what_is_no_request(line: bytes) -> None:
    """Broken: the middle of a message, or another protocol, counts as a request."""
    assert parse_request(line + b"\r\n\r\n") is None


@pytest.mark.parametrize(
    "line", [b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/2 200 OK", b"HTTP/1.1 x00", b"HTTP/1.1 099"]
)
def test_what_is_no_response(line: bytes) -> None:
    """Broken: nonsense counts as a response, or raises."""
    assert parse_response(line + b"\r\n\r\n") is None


def test_the_trace_of_a_request(protocol: WireProtocol) -> None:
    """Broken: sampled exchanges are not joined to their traces."""
    part = b64encode(b"x").decode()
    sw8 = f"1-{part}-{part}-3-{part}-{part}-{part}-{part}".encode()
    (found,) = exchanges((0, b"GET / HTTP/1.1\r\nSW8 : " + sw8 + b" \r\n\r\n", 0), (1, OK % 0, 0))
    assert protocol.trace(found) == TraceContext("skywalking", "x", "x", "3")
    (other,) = exchanges((0, GET, 0), (1, OK % 0, 0))
    assert protocol.trace(other) is None


def endless_head() -> Iterator[tuple[int, bytes, int]]:
    yield 0, b"GET / HTTP/1.1\r\n", 0
    for _ in range(2000):
        yield 0, b"X-Long: " + b"y" * 16_000 + b"\r\n", 0


def endless_line() -> Iterator[tuple[int, bytes, int]]:
    yield 0, b"GET /", 0
    for _ in range(2000):
        yield 0, b"y" * 16_000, 0


def vast_body() -> Iterator[tuple[int, bytes, int]]:
    yield 0, GET, 0
    yield 1, OK % (1 << 60), 0
    for _ in range(2000):
        yield 1, b"x" * 16_000, 1 << 48


def open_requests() -> Iterator[tuple[int, bytes, int]]:
    for _ in range(10_000):
        yield 0, b"GET /" + b"p" * 600 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 0


@pytest.mark.parametrize("sent", [endless_head, endless_line, vast_body, open_requests])
@pytest.mark.parametrize("content", [0, 64 << 10])
def test_memory_is_small_whatever_is_sent(sent: Callable[[], Iterator[tuple[int, bytes, int]]], content: int) -> None:
    """Broken: 32 MB of head, a body of 2^60 bytes or 10 000 requests that nobody answers stay in memory."""
    connection = Http1Connection(Limits(content=content))
    tracemalloc.start()
    try:
        for at, (direction, data, gap) in enumerate(sent()):
            connection.feed(direction, data, gap, at)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2 << 20
    assert peak < 4 << 20
