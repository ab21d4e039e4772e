"""The kit of protocol parsers: buffer, stitchers, names of operations, trace contexts."""

import string
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover_core.model import Loss
from rover_core.wire import (
    WITHOUT_END,
    Buffer,
    ById,
    Direction,
    Exchange,
    InOrder,
    Message,
    Stitcher,
    TraceContext,
    trace_context,
)
from rover_core.wire.http import operation, operation_class

STREAM = bytes(range(256)) * 2


def pair(request: Message[Any] | None, response: Message[Any] | None) -> Exchange:
    return Exchange("", "", "", False, request, response)


def message(name: str, start_ns: int, end_ns: int | None = None) -> Message[str]:
    return Message(start_ns, end_ns or start_ns, 1, True, name)


def names(stitcher: Stitcher) -> list[tuple[str | None, str | None]]:
    """Pairs taken from the stitcher, by the names of their messages."""
    taken = stitcher.take()
    return [(e.request.detail if e.request else None, e.response.detail if e.response else None) for e in taken]


class TestBuffer:
    @given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 60)), max_size=20), st.integers(0, 100))
    def test_it_consumes_what_a_single_string_would(self, plan: list[tuple[int, int]], content: int) -> None:
        """Broken: bytes are read twice, skipped, or counted wrongly, depending on how they came."""
        buffer, came = Buffer(content), 0
        position = 0
        for size, skip in plan:
            buffer.push(STREAM[came : came + size], came, came + size)
            came = min(came + size, len(STREAM))
            if not buffer.owed:
                buffer.skip(skip)
                position += skip
            assert buffer.position + buffer.owed == position
            assert bytes(buffer.data[buffer.at :]) == STREAM[position:came]
        done = buffer.finish("all")
        assert (done.size, done.content) == (min(position, came), STREAM[: min(position, came, content)])

    @given(st.binary(max_size=60), st.lists(st.integers(1, 9), max_size=60))
    def test_what_it_looks_for_is_found_across_pieces(self, data: bytes, cuts: list[int]) -> None:
        """Broken: the end of a head is missed where a packet ended inside it."""
        data += b"\r\n\r\n"
        buffer, at = Buffer(), 0
        for cut in [*cuts, len(data)]:
            buffer.push(data[at : at + cut], 0, 0)
            at += cut
            if (found := buffer.find(b"\r\n\r\n")) >= 0:
                break
        assert found == data.find(b"\r\n\r\n")

    def test_a_message_has_the_times_of_its_first_and_last_byte(self) -> None:
        """Broken: a duration includes the time before the request, or lacks the end of the response."""
        buffer = Buffer()
        for at, data in enumerate([b"one", b"one two", b"two"], 1):
            buffer.push(data, at * 10, at * 10 + 5)
            if at == 2:
                buffer.skip(6)
                first = buffer.finish("first")
        buffer.skip(7)
        assert first[:3] == (10, 25, 6)
        assert buffer.finish("second")[:3] == (20, 35, 7)

    def test_a_gap_counts_as_what_is_owed_and_no_further(self) -> None:
        """Broken: sizes lack what was not captured, or a gap hides the beginning of the next message."""
        buffer = Buffer(content=100)
        buffer.push(b"headbo", 1, 1)
        buffer.skip(4)
        buffer.skip(10)
        assert buffer.leap(20, 2, 2) == 12
        done = buffer.finish("all")
        assert (done.size, done.content, done.end_ns) == (14, b"headbo", 2)

    def test_until_the_end_takes_any_gap(self) -> None:
        """Broken: a body that ends with the connection is given up for a gap in it."""
        buffer = Buffer()
        buffer.skip(WITHOUT_END)
        assert buffer.leap(1 << 62, 1, 1) == 0
        assert buffer.endless
        assert buffer.position == 1 << 62


class TestInOrder:
    def test_pipelined(self) -> None:
        """Broken: responses are given to the wrong requests."""
        stitcher = InOrder(pair, 9)
        for name, at in (("a", 1), ("b", 2), ("c", 3)):
            stitcher.request(message(name, at))
        for name, at in (("A", 4), ("B", 5), ("C", 6)):
            stitcher.response(message(name, at))
        assert names(stitcher) == [("a", "A"), ("b", "B"), ("c", "C")]

    def test_a_response_waits_for_the_request_that_was_sent_before_it(self) -> None:
        """Broken: on two processors the response is reported first, and both are lost."""
        stitcher = InOrder(pair, 9)
        stitcher.response(message("mid-stream", 1))
        stitcher.response(message("A", 5))
        stitcher.request(message("a", 3))
        assert names(stitcher) == [(None, "mid-stream"), ("a", "A")]

    def test_a_lost_response_shifts_nothing(self) -> None:
        """Broken: after one loss every response is shown with the request before it."""
        stitcher = InOrder(pair, 9)
        stitcher.request(message("a", 1))
        stitcher.lost(Direction.SERVER, answering=False)
        stitcher.request(message("b", 3))
        stitcher.response(message("B", 4))
        assert names(stitcher) == [("a", None), ("b", "B")]
        assert stitcher.losses == {Loss.UNPAIRED: 1}

    def test_a_lost_request_shifts_nothing(self) -> None:
        """Broken: the response to the lost request is shown with the next one."""
        stitcher = InOrder(pair, 9)
        stitcher.request(message("a", 1))
        stitcher.lost(Direction.CLIENT, answering=False)
        for name, at in (("A", 3), ("LOST", 4)):
            stitcher.response(message(name, at))
        stitcher.request(message("c", 5))
        stitcher.response(message("C", 6))
        assert names(stitcher) == [("a", "A"), (None, "LOST"), ("c", "C")]

    def test_losses_on_both_sides_shift_nothing(self) -> None:
        """Broken: after two losses close together responses are shown with the requests before them."""
        stitcher = InOrder(pair, 9)
        stitcher.request(message("a", 1))
        stitcher.request(message("b", 2))
        stitcher.lost(Direction.CLIENT, answering=False)
        stitcher.lost(Direction.SERVER, answering=False)
        stitcher.response(message("B", 5))
        stitcher.request(message("c", 6))
        stitcher.response(message("C", 7))
        found = names(stitcher)
        assert sorted(found[:-1], key=str) == [("a", None), ("b", None), (None, "B")]
        assert found[-1] == ("c", "C")

    def test_looking_for_what_is_too_old_shifts_nothing(self) -> None:
        """Broken: five times a second, when workers look, what stands behind a loss is paired all the same."""
        stitcher = InOrder(pair, 9)
        stitcher.request(message("a", 1))
        stitcher.lost(Direction.SERVER, answering=False)
        stitcher.expire(0)
        stitcher.response(message("of a lost request", 5))
        assert names(stitcher) == [(None, "of a lost request")]
        stitcher.expire(2)
        assert names(stitcher) == [("a", None)]
        assert stitcher.losses == {Loss.UNPAIRED: 2}

    def test_a_loss_is_not_forgotten_for_want_of_room(self) -> None:
        """Broken: where many requests wait behind a loss, the next response is shown with one of them."""
        stitcher = InOrder(pair, 2)
        stitcher.request(message("a", 1))
        stitcher.request(message("b", 2))
        stitcher.response(message("A", 3))
        stitcher.request(message("c", 4))
        stitcher.lost(Direction.SERVER, answering=False)
        stitcher.request(message("d", 5))
        stitcher.response(message("B, C or D", 6))
        assert names(stitcher) == [("a", "A"), ("b", None), (None, "B, C or D")]

    def test_who_sends_before_the_answer_is_paired_again_after_a_pause(self) -> None:
        """Broken: a pipelining client's exchanges are shifted by a loss, or lost for as long as it is connected."""
        stitcher = InOrder(pair, 9)
        stitcher.request(message("a", 1))
        stitcher.request(message("b", 2))
        stitcher.response(message("A", 3))
        stitcher.request(message("c", 4))  # sent while b waits: it never waits for all answers
        stitcher.lost(Direction.SERVER, answering=False)
        stitcher.request(message("d", 6))
        stitcher.response(message("B or C or D", 7))
        stitcher.request(message("e", 3_000_000_000))
        stitcher.response(message("E", 3_000_000_001))
        found = names(stitcher)
        assert (found[0], found[-1]) == (("a", "A"), ("e", "E"))
        assert sorted(found[1:-1], key=str) == [("b", None), ("c", None), ("d", None), (None, "B or C or D")]

    def test_room_is_bounded(self) -> None:
        """Broken: a client that never gets answers fills the memory."""
        stitcher = InOrder(pair, 2)
        for at in range(1, 6):
            stitcher.request(message(str(at), at))
        assert names(stitcher) == [("1", None), ("2", None), ("3", None)]

    def test_time_ends_what_is_not_answered(self) -> None:
        """Broken: unanswered requests are kept, or those that may still be answered are not."""
        stitcher = InOrder(pair, 9)
        for at in (1, 5):
            stitcher.request(message(str(at), at))
        stitcher.expire(5)
        assert names(stitcher) == [("1", None)]
        stitcher.close()
        assert names(stitcher) == [("5", None)]


class TestById:
    def make(self, room: int = 9) -> ById:
        return ById(pair, room, key=lambda each: each.detail.lower())

    def test_answers_out_of_order(self) -> None:
        """Broken: with ids on both sides a response is still given to the oldest request."""
        stitcher = self.make()
        stitcher.request(message("a", 1))
        stitcher.request(message("b", 2))
        stitcher.response(message("B", 3))
        stitcher.response(message("A", 4))
        assert names(stitcher) == [("b", "B"), ("a", "A")]

    def test_an_id_that_is_used_again(self) -> None:
        """Broken: a retry takes the answer of the one before, or an old answer is taken for a new one."""
        stitcher = self.make()
        stitcher.request(message("a", 1))
        stitcher.request(message("a", 2))
        stitcher.response(message("A", 3))
        stitcher.response(message("A", 4))
        stitcher.request(message("a", 5))
        assert names(stitcher) == [("a", None), ("a", "A"), (None, "A")]
        assert stitcher.awaited("a") == message("a", 5)

    def test_a_response_waits_for_the_request_that_was_sent_before_it(self) -> None:
        """Broken: on two processors the response is reported first, and both are lost."""
        stitcher = self.make()
        stitcher.response(message("A", 5))
        stitcher.request(message("a", 3))
        assert names(stitcher) == [("a", "A")]

    def test_room_is_bounded_and_time_ends(self) -> None:
        """Broken: streams that are opened and never answered fill the memory, or vanish without a count."""
        stitcher = self.make(room=2)
        for at, name in enumerate("abc", 1):
            stitcher.request(message(name, at))
        for at, name in enumerate("XYZ", 10):
            stitcher.response(message(name, at))
        assert names(stitcher) == [("a", None), (None, "X")]
        assert stitcher.losses == {Loss.OVER_LIMIT: 2}
        stitcher.expire(3)
        assert names(stitcher) == [("b", None)]
        stitcher.close()
        assert names(stitcher) == [(None, "Y"), (None, "Z"), ("c", None)]


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/", "/"),
        ("/users/42/orders", "/users/{}/orders"),
        ("/v1/items/9b2d1c4e-0a51-4b8e-9d37-2f6f0c1a7b11", "/v1/items/{}"),
        ("/commit/da39a3ee5e6b4b0d3255bfef95601890afd80709", "/commit/{}"),
        ("/static/app.js", "/static/app.js"),
        ("/deadbeef", "/deadbeef"),  # a word, as far as one can tell
        ("/s/eyJhbGciOiJIUzI1NiJ9a0c", "/s/{}"),
        ("/mail/a@b.org", "/mail/{}"),
        ("/" + "x" * 41, "/{}"),
        ("/1/2/3/4/5/6/7/8/9/10", "/{}/{}/{}/{}/{}/{}/{}/{}/..."),
        ("http://host:80/a/7", "/a/{}"),
        ("http://host", "/"),
    ],
)
def test_paths_that_differ_in_values_are_one_operation(target: str, name: str) -> None:
    """Broken: each user, order or file is an operation of its own, and tables and metrics grow without end."""
    assert operation("GET", target) == f"GET {name}"


def test_what_has_no_path_is_named_by_its_method() -> None:
    """Broken: every host that a proxy connects to, every method that a scanner makes up, is an operation."""
    assert operation("CONNECT", "example.org:443") == "CONNECT"
    assert operation("OPTIONS", "*") == "OPTIONS"
    assert operation("X" * 30, "/a") == "OTHER /a"
    assert operation_class("GET") == "GET"


def sw8(*parts: str) -> str:
    encoded = [part if index in (0, 3) else b64encode(part.encode()).decode() for index, part in enumerate(parts)]
    return "-".join(encoded)


SW8 = sw8("1", "trace.1", "segment.2", "3", "service", "instance", "/endpoint", "host:80")
ZIPKIN = TraceContext("zipkin", "463ac35c9f6413ad48485a3953bb6124", "", "a2fb4a1d1a96d312")
IDS = f"{ZIPKIN.trace_id}-{ZIPKIN.span_id}"


@pytest.mark.parametrize(
    ("headers", "context"),
    [
        ({}, None),
        ({"sw8": SW8, "b3": IDS}, TraceContext("skywalking", "trace.1", "segment.2", "3")),
        ({"sw8": SW8 + "-more", "b3": f"{IDS}-1-05e3ac9a4f6e3b90"}, ZIPKIN),
        ({"sw8": SW8.replace("=", "!")}, None),
        ({"b3": "0"}, None),  # B3's "do not sample": no trace
        ({"x-b3-traceid": ZIPKIN.trace_id, "x-b3-spanid": ZIPKIN.span_id}, ZIPKIN),
        ({"x-b3-traceid": ZIPKIN.trace_id}, None),
        ({"traceparent": f"00-{IDS}-01"}, ZIPKIN),
        ({"traceparent": f"ff-{IDS}-01"}, None),
        ({"traceparent": f"00-{'0' * 32}-{ZIPKIN.span_id}-01"}, None),
    ],
    ids=lambda value: "",
)
def test_trace_contexts(headers: dict[str, str], context: TraceContext | None) -> None:
    """Broken: sampled requests are not joined to their traces, or joined to nonsense."""
    assert trace_context(headers) == context


@given(st.dictionaries(st.sampled_from(["sw8", "b3", "traceparent"]), st.text(string.printable, max_size=60)))
def test_whatever_a_client_sends_is_no_error(headers: dict[str, str]) -> None:
    """Broken: one odd header ends a worker."""
    trace_context(headers)
