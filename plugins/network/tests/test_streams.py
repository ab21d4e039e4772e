"""From records to sums: gaps, ends, strange bytes and bounds, without a kernel."""

import json
import math
import tracemalloc
from collections.abc import Callable

import pytest

from rover_core.wire import Connection, Limits
from rover_http1.plugin import connect, rover_protocols
from rover_network.intervals import DURATION_BOUNDS, OTHER, SIZE_BOUNDS, Interval
from rover_network.operations import check
from rover_network.records import END, RECORD
from rover_network.rules import parse_rules
from rover_network.samplewords import rules_told, samples_read
from rover_network.sampling import Sampler
from rover_network.streams import _CONNECTIONS, PARSER_FAILED, Spoken, Streams

MS = 1_000_000
REQUEST = b"GET /a HTTP/1.1\r\nHost: b\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


class Tape:
    """Records of one connection, as the kernel writes them for the server's side."""

    def __init__(self, streams: Streams, inode: int = 7, tgid: int = 42) -> None:
        self.streams, self.key = streams, (inode, tgid, 0)
        self.position = [500, 900]  # of what is received, and sent: it was there before
        self.now = MS

    def move(self, sent: int, data: bytes, after: int = 0, lost: bool = False, event: int = 0) -> None:
        self.now += MS
        places = self.position[sent], self.position[not sent]
        self.position[sent] += len(data) + after
        if not lost:
            head = RECORD.pack(*self.key, *places, self.now, self.now, after, len(data), 1, sent, sent, event)
            self.streams.feed(head + data + bytes(64))

    def exchange(self, lost: bool = False) -> None:
        self.move(0, REQUEST, lost=lost)
        self.move(1, ANSWER, 1000, lost=lost)

    def end(self) -> None:
        self.move(0, b"", event=END)


def make(connecting: Callable[[Limits], Connection] = connect, room: int = 100, **metrics: object) -> Streams:
    spoken = Spoken(connecting, None, metrics)  # type: ignore[arg-type]
    return Streams([None, spoken], Interval(room), Sampler())


def rows(streams: Streams) -> list[list[object]]:
    report = json.loads(json.dumps(streams.report()))
    check(report, 1)
    return report["rows"]  # type: ignore[no-any-return]


def test_an_exchange_becomes_sums() -> None:
    """Broken: counts, durations, sizes or the role are not those of the bytes that passed."""
    streams = make(answered=lambda exchange: 5)
    tape = Tape(streams)
    for _ in range(3):
        tape.exchange()
    ((*place, kind, operation, status, exchanges, requests, errors, durations, asked, told, metrics),) = rows(streams)
    assert (place, kind, operation, status) == ([7, 42, 0, 0, 1], "GET", "GET /a", "200")
    assert (exchanges, requests, errors) == (3, 3, 0)
    assert durations == [3, 3 * MS, {str(DURATION_BOUNDS.index(MS)): 3}]
    assert asked == [3, 3 * len(REQUEST), {"0": 3}]
    assert told == [3, 3 * (len(ANSWER) + 1000), {str(SIZE_BOUNDS.index(512)): 3}]
    assert metrics == {"answered": [3, 15, {"0": 3}]}
    assert rows(streams) == []


def test_lost_records_lose_their_messages_and_no_others() -> None:
    """Broken: a full ring shifts answers to other requests, or nobody is told of what it lost."""
    streams = make()
    tape = Tape(streams)
    tape.exchange()
    tape.exchange(lost=True)
    tape.move(0, REQUEST, lost=True)
    tape.move(1, ANSWER, 1000)
    tape.now += 2000 * MS
    tape.exchange()
    tape.end()
    report = streams.report()
    assert sum(row[8] for row in report["rows"] if row[6] == "GET /a" and row[7] == "200") == 2
    assert sum(row[11][0] for row in report["rows"]) == 2
    assert {cause for _, cause, _ in report["losses"]} >= {"gap in the bytes"}
    assert all(tgid == 42 for tgid, _, _ in report["losses"])
    assert report["steps"]["bytes not captured"] == 2 * len(REQUEST) + len(ANSWER) + 1000
    assert report["open"] == 0


def test_what_ends_in_lost_bytes_does_not_last_until_the_next_that_came() -> None:
    """Broken: where rings are full, an answer of a millisecond is told to have taken as long as the loss."""
    streams = make()
    tape = Tape(streams)
    tape.move(0, REQUEST)
    tape.move(1, ANSWER)
    tape.move(1, bytes(1000), lost=True)
    tape.now += 5000 * MS
    tape.exchange()
    (row,) = rows(streams)
    assert row[11] == [2, 2 * MS, {str(DURATION_BOUNDS.index(MS)): 2}]


def test_a_connection_that_the_kernel_had_forgotten_begins_anew() -> None:
    """Broken: positions that count from 0 again are taken for a gap, or for nothing at all."""
    streams = make()
    tape = Tape(streams)
    tape.exchange()
    tape.position = [0, 0]
    tape.exchange()
    assert sum(row[8] for row in rows(streams)) == 2  # type: ignore[misc]
    assert streams.report()["losses"] == []


def test_what_goes_on_in_another_protocol_is_asked_about_again() -> None:
    """Broken: after an upgrade, or a verdict that does not hold, a connection is read as what it is not for ever."""
    streams = make()
    tape = Tape(streams)
    tape.move(0, b"GET /chat HTTP/1.1\r\nHost: b\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    tape.move(1, b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    other = Tape(streams, inode=8)
    for _ in range(20):
        other.move(1, b"\x01\x02\x03" * 1400)
    assert streams.report()["again"] == [(7, 42, 0, 0), (8, 42, 0, 0)]


class Failing(Connection):
    def __init__(self, limits: Limits) -> None:
        pass

    def feed(self, *_: object) -> list[object]:  # type: ignore[override]
        raise RuntimeError("a mistake in a plugin")


def test_a_parser_that_fails_loses_its_connection_alone() -> None:
    """Broken: bytes that a plugin did not expect end the worker, and with it everybody's connections."""
    made = iter([Failing, connect])
    streams = make(lambda limits: next(made)(limits))
    first, second = Tape(streams), Tape(streams, inode=8)
    first.move(0, REQUEST)
    first.move(0, REQUEST)
    second.exchange()
    report = streams.report()
    assert [row[0] for row in report["rows"]] == [8]
    assert report["steps"][PARSER_FAILED] == 1
    assert report["losses"] == [[42, "unreadable bytes", 1]]
    assert report["again"] == [(7, 42, 0, 0)]


def test_memory_is_bounded() -> None:
    """Broken: who invents paths, or opens connections, fills the worker's memory."""
    streams = make(room=20)
    tape = Tape(streams)
    for number in range(100):
        tape.move(0, REQUEST.replace(b"/a", b"/%s" % bytes([97 + number % 26]) * (1 + number // 26)))
        tape.move(1, ANSWER, 1000)
    seen = rows(streams)
    assert len(seen) <= 20
    assert sum(row[8] for row in seen) == 100  # type: ignore[misc]
    assert [row[6] for row in seen].count(OTHER) == 1
    for inode in range(50):
        Tape(streams, inode=100 + inode).exchange()
    report = streams.report()
    kept = sum(row[8] for row in report["rows"])
    assert len(report["rows"]) == 20
    assert [0, "queue full", 50 - kept] in report["losses"]
    for inode in range(_CONNECTIONS + 10):
        Tape(streams, inode=1000 + inode).move(0, REQUEST)
    assert _CONNECTIONS // 2 < streams.report()["open"] <= _CONNECTIONS


GOOD = {"rows": [], "losses": [], "steps": {}, "again": [], "learned": []}
ROW = [7, 42, 0, 0, 1, "GET", "GET /a", "200", 1, 1, 0, [1, 5, {"0": 1}], [0, 0, {}], [0, 0, {}], {}]


@pytest.mark.parametrize(
    "report",
    [
        {},
        {**GOOD, "rows": 5},
        {**GOOD, "rows": [[]]},
        {**GOOD, "rows": [ROW[:-1]]},
        {**GOOD, "rows": [[*ROW[:4], 2, *ROW[5:]]]},
        {**GOOD, "rows": [[*ROW[:6], 9, *ROW[7:]]]},
        {**GOOD, "rows": [[*ROW[:8], -1, *ROW[9:]]]},
        {**GOOD, "rows": [[*ROW[:8], math.inf, *ROW[9:]]]},
        {**GOOD, "rows": [[*ROW[:11], [1, 5, {"999": 1}], *ROW[12:]]]},
        {**GOOD, "rows": [[*ROW[:11], [1, 5, {"x": 1}], *ROW[12:]]]},
        {**GOOD, "rows": [[*ROW[:14], {"m": [1]}]]},
        {**GOOD, "losses": [[1, 2, 3]]},
        {**GOOD, "steps": {"a": "b"}},
        {**GOOD, "again": [[1, 2, 3]]},
        {**GOOD, "again": [[1, 2, 1 << 64, 0]]},
        {**GOOD, "again": [[1, 2, 3, 99]]},
    ],
)
def test_a_worker_that_says_something_else_is_not_believed(report: dict[str, object]) -> None:
    """Broken: who has taken over a worker takes over the agent, or ends it."""
    check({**GOOD, "rows": [ROW]}, 1)
    with pytest.raises(ValueError, match=r"not|no such|nothing|none|values|literal"):
        check(report, 1)


def test_what_is_sampled_changes_while_connections_last() -> None:
    """Broken: rules hold for connections that are made later alone, stay when their task has ended, or for others."""
    (http,) = rover_protocols()
    spoken = Spoken(http.connect, None, {}, "http", http.trace, http.subject, http.reason, http.render)
    streams = Streams([None, spoken], Interval(100), Sampler())
    tape = Tape(streams)
    rule = rules_told(parse_rules("slow>0s"))

    def sampled() -> list[tuple[str, str | None]]:
        tape.exchange()
        taken = samples_read(json.loads(json.dumps(streams.report()))["samples"])
        return [(each.task_id, each.exchange.request and each.exchange.request.text[:6]) for each in taken]

    assert sampled() == []
    streams.assign([("a", rule, [42]), ("b", rule, [43]), ("c", rule, None)])
    assert sampled() == [("a", "GET /a"), ("c", "GET /a")]
    streams.assign([("b", rule, [42])])
    assert sampled() == [("b", "GET /a")]
    streams.assign([])
    assert sampled() == []


def test_ten_thousand_open_requests_stay_small() -> None:
    """Broken: connections that ask and are never answered fill the worker's memory."""
    streams = make(room=5000)
    tapes = [Tape(streams, inode=number) for number in range(10_000)]
    tracemalloc.start()
    try:
        for tape in tapes:
            tape.move(0, REQUEST)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert streams.report()["open"] == 10_000
    assert kept < 10_000 * 8192
