"""Records become exchanges: one parser for each connection. Standard library only: it lives in workers."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from rover_core.model import Loss, TraceContext
from rover_core.wire import Connection, Exchange, Limits, Message
from rover_core.wire.sampled import Render, no_reason, operation, untraced
from rover_network.details import CallBook
from rover_network.intervals import DURATION_BOUNDS, LONGEST, OTHER, Interval, spread, spread_value
from rover_network.records import (
    ANSWERED,
    ASKED,
    CALL,
    DATAGRAM,
    END,
    NOTE,
    PLACE,
    RECORD,
    RUNS,
    SAID,
    TEACH,
    Batch,
    Bytes,
    Record,
    Said,
    runs,
)
from rover_network.samplewords import rules_read, samples_told
from rover_network.sampling import Sampler, Source
from rover_network.watching import RequestWatcher, Told

_CONNECTIONS = 16_384
_LIMITS = Limits()
_STRAY = 65_536
_WAIT_NS = 60_000_000_000  # for the other half of an exchange
_METRIC_BOUNDS = DURATION_BOUNDS  # any that are close to each other everywhere
_HEAD = RECORD.size
_LEARNED = 1000  # operations told of at once,
_NAMES = 8192  # and remembered
_unpack = RECORD.unpack_from
_KINDS = NOTE | RUNS
_LEFT = -1  # the protocol of a connection that is not what it seemed, until the kernel has found out what it is
Key = tuple[int, int, int]
Place = tuple[int, int, int, int, int]
"""Inode, process and peer of a connection; 1 if the process is the client; the protocol's number."""
PARSER_FAILED = "parser failed"


class Spoken(NamedTuple):
    """What a worker needs of a protocol. metrics: name -> what reads it off an exchange. request, response: of its
    fast path. continues: see `WireProtocol`. The rest: `Sampleable`.
    """

    connect: Callable[[Limits], Connection]
    datagrams: Callable[[Limits], Connection] | None
    metrics: dict[str, Callable[[Exchange], int | None]]
    label: str = ""
    trace: Callable[[Exchange], TraceContext | None] = untraced
    subject: Callable[[Exchange], str] = operation
    reason: Callable[[Exchange], str] = no_reason
    render: Render | None = None
    request: Callable[[str, str], Any] | None = None
    response: Callable[[int], Any] | None = None
    continues: tuple[str, ...] = ()


class _Stream:
    """A connection, and where in it the next byte of each direction (client's, server's) is expected."""

    __slots__ = (
        "asked_ns",
        "asks",
        "connection",
        "event",
        "expected",
        "metrics",
        "place",
        "protocol",
        "seen_ns",
        "source",
        "told",
    )

    def __init__(self, connection: Connection, record: Record, spoken: Spoken) -> None:
        client = record.sent != record.from_server
        self.connection = connection
        self.protocol = record.protocol
        self.event = record.event & ~_KINDS
        self.place: Place = (record.inode, record.tgid, record.peer, int(client), record.protocol)
        self.source = Source(record.tgid, self.place, spoken)
        self.metrics = spoken.metrics
        self.seen_ns = record.ended_ns
        self.expected = [record.position, record.other]
        if record.from_server:
            self.expected.reverse()
        self.told: dict[str, int] = {}
        self.asks = self.asked_ns = 0  # the kernel's number of an operation without a name, and when it was asked for

    def go_on(self, connection: Connection, number: int, spoken: Spoken) -> None:
        """In another protocol. The kernel, which does not know it yet, may call it by the old number."""
        self.connection = connection
        self.place = (*self.place[:4], number)
        self.source = Source(self.place[1], self.place, spoken)
        self.metrics = spoken.metrics
        self.told = {}


class Streams:
    """The connections of one ring.

    spoken: protocols by number; None for those that cannot be had. `take` is called with each exchange: the place for
    what looks at exchanges one by one. now_ns: by the records' clock. calls: where the sampler looks system calls up.
    """

    def __init__(
        self,
        spoken: Sequence[Spoken | None],
        interval: Interval,
        sampler: Sampler[Place],
        limits: Limits = _LIMITS,
        now_ns: Callable[[], int] = time.monotonic_ns,
        calls: CallBook | None = None,
    ) -> None:
        self._calls = calls or CallBook()
        self._now_ns = now_ns
        self._spoken = spoken
        self._interval = interval
        self._sampler = sampler
        self._limits = limits
        self._watcher = RequestWatcher()
        self._streams: dict[Key, _Stream] = {}
        self._losses: dict[tuple[int, str], int] = {}
        self._names: dict[int, tuple[str, str]] = {}
        self._learned: dict[int, tuple[str, str]] = {}
        self.steps: dict[str, int] = {}
        self.again: list[tuple[int, int, int, int]] = []
        self._successors = {
            name: (number, each) for number, each in enumerate(spoken) if each for name in each.continues
        }

    def feed(self, memory: Bytes, at: int = 0) -> None:
        """The record that begins there, as it lies in the ring."""
        # What follows on what was there, as nearly all does, goes the shortest way: no names, no second look-up.
        fields = _unpack(memory, at)
        inode, tgid, peer, position, _, began_ns, ended_ns, after, length, protocol, direction, _, event = fields
        key = inode, tgid, peer
        body = at + _HEAD
        stream = self._streams.get(key)
        try:
            if (
                stream is not None
                and position == stream.expected[direction]
                and protocol == stream.protocol
                and event == stream.event
            ):
                stream.seen_ns = ended_ns
                stream.expected[direction] = position + length + after
                data = memory[body : body + length]
                exchanges = stream.connection.feed(direction, data, after, ended_ns, began_ns)
            else:
                if event & CALL:
                    self._calls.add(key, fields, memory, at)
                    return
                record = Record._make(fields)
                if record.event & NOTE:
                    self._hear(key, stream, record, Said._make(SAID.unpack_from(memory, body)))
                    return
                if record.event & END:
                    if stream is not None:
                        self._end(key, stream)
                    self._calls.end(key)
                    return
                stream = self._place(key, stream, record)
                if stream is None:
                    return
                if record.event & RUNS:
                    exchanges = self._advance_runs(stream, record, memory[body : body + length])
                else:
                    exchanges = self._advance(stream, record, memory[body : body + length])
            if stream.connection.switched:
                exchanges = self._hand_over(key, stream, exchanges, direction, after)
            for exchange in exchanges:
                self.take(stream, exchange)
        except Exception:  # noqa: BLE001 - a plugin's parser, and a stranger's bytes: this connection alone is lost
            self._fail(key, tgid, stream)
            return
        connection = stream.connection
        if connection.switched or connection.stray_bytes > _STRAY:
            self._leave(key, stream)

    def _place(self, key: Key, stream: _Stream | None, record: Record) -> _Stream | None:
        """The stream that a record belongs to: a new one if positions fall back, the kernel had forgotten it."""
        if stream is None or stream.event != record.event & ~_KINDS:
            return self._begin(key, stream, record)
        if record.position < stream.expected[record.from_server]:
            return self._begin(key, stream, record)
        if record.protocol == stream.place[4] and stream.protocol != _LEFT:
            stream.protocol = record.protocol  # the kernel knows by now what it goes on with
        return None if stream.protocol == _LEFT else stream

    def _begin(self, key: Key, old: _Stream | None, record: Record) -> _Stream | None:
        if old is not None:
            self._end(key, old)
        spoken = self._spoken[record.protocol] if record.protocol < len(self._spoken) else None
        connect = spoken and (spoken.datagrams if record.event & DATAGRAM else spoken.connect)
        if spoken is None or connect is None:
            return None
        if len(self._streams) >= _CONNECTIONS:
            self._make_room()
        stream = self._streams[key] = _Stream(connect(self._limits), record, spoken)
        self._count("connections")
        return stream

    def assign(self, tasks: Sequence[tuple[str, Any, Sequence[int] | None]]) -> None:
        """What is sampled from now on: all tasks that have rules."""
        self._sampler.keep(task_id for task_id, _, _ in tasks)
        if not tasks:
            self._calls.clear()
        for task_id, rules, pids in tasks:
            self._sampler.assign(task_id, rules_read(rules), pids)
        self._limits = replace(self._limits, content=self._sampler.content)
        for stream in self._streams.values():
            for reader in stream.connection.readers:
                reader.buffer.content = self._sampler.content

    def watch(self, watches: Sequence[Told], alone: bool) -> None:
        """What is added up second by second from now on. alone: no task wants to know anything."""
        self._watcher.assign(watches, alone)

    def know(self, names: Sequence[tuple[int, str, str]]) -> None:
        """What operations are called that notes may be about: number, class and name."""
        for number, kind, name in names:
            self._names.pop(number, None)
            self._names[number] = kind, name
        for number in list(self._names)[: max(0, len(self._names) - _NAMES)]:
            del self._names[number]

    def _hear(self, key: Key, stream: _Stream | None, record: Record, said: Said) -> None:
        """A note of the fast path: where the parser goes on, and what was open there."""
        record = record._replace(event=record.event & ~_KINDS)
        known = stream is not None and stream.event == record.event
        if stream and known and (stream.protocol == _LEFT or stream.place[4] != record.protocol):
            return  # the connection has left the fast path's protocol
        places = [record.position, record.other]
        if not stream or not known or (said.note & PLACE and stream.expected != places):
            stream = self._begin(key, stream, record)
        spoken = self._spoken[record.protocol] if record.protocol < len(self._spoken) else None
        if stream is None or spoken is None or spoken.request is None or spoken.response is None:
            return
        if said.note & TEACH:
            stream.asks, stream.asked_ns = said.operation, record.began_ns
        if not said.note & ASKED:
            return
        detail = spoken.request(*self._names.get(said.operation, (OTHER, OTHER)))
        request = Message(record.began_ns, record.began_ns, said.requested, True, detail)
        if not said.note & ANSWERED:
            found = stream.connection.adopt(request)
        else:  # it is over, and has nothing to do with what follows
            response = Message(record.ended_ns, record.ended_ns, said.responded, True, spoken.response(said.status))
            found = spoken.connect(self._limits).adopt(request, response)
        for exchange in found:
            self.take(stream, exchange)

    def _learn(self, stream: _Stream, exchange: Exchange) -> None:
        """The exchange that an operation is to be called by, if this is it."""
        request, names = exchange.request, (exchange.operation_class, exchange.operation)
        if request is not None and request.start_ns == stream.asked_ns:
            if len(self._learned) < _LEARNED and max(map(len, names)) <= LONGEST:
                self._learned[stream.asks] = names
                self.know([(stream.asks, *names)])
            stream.asks = 0

    def _make_room(self) -> None:
        """Forget the quarter of all connections that has been quiet for longest."""
        quiet = sorted(self._streams.items(), key=lambda item: item[1].seen_ns)[: _CONNECTIONS // 4]
        for key, stream in quiet:
            self._end(key, stream)
        self._count("connections forgotten", len(quiet))

    def _advance(self, stream: _Stream, record: Record, data: bytes) -> Sequence[Exchange]:
        """Feed a record, and before it what is missing in front of it."""
        direction = record.from_server
        missing = record.position - stream.expected[direction]
        stream.expected[direction] = record.position + record.length + record.after
        stream.seen_ns = record.ended_ns
        feed = stream.connection.feed
        if not missing or record.event & DATAGRAM:  # a datagram that is lost is lost alone
            return feed(direction, data, record.after, record.ended_ns, record.began_ns)
        self._count("bytes not captured", missing)
        # When they passed nobody knows: a message that ends among them ends with what was seen of it.
        seen_ns = stream.connection.readers[direction].buffer.end_ns
        before = feed(direction, b"", missing, seen_ns or record.began_ns)
        return [*before, *feed(direction, data, record.after, record.ended_ns, record.began_ns)]

    def _advance_runs(self, stream: _Stream, record: Record, data: bytes) -> Sequence[Exchange]:
        """Feed a record that leaves out what the protocol's selector does not want."""
        parts, before = runs(data)
        found: list[Exchange] = []
        position = record.position
        for run, after in [(b"", before), *parts, (b"", record.after)]:
            if run or after:
                part = record._replace(position=position, length=len(run), after=after)
                found += self._advance(stream, part, run)
                position += len(run) + after
        return found

    def take(self, stream: _Stream, exchange: Exchange) -> None:
        """An exchange is known."""
        if stream.asks:
            self._learn(stream, exchange)
        place, source = stream.place, stream.source
        if self._watcher.watching:
            _, tgid, _, client, number = place
            self._watcher.offer(exchange, tgid, client, number, source.protocol)
        if self._watcher.alone:
            return
        if self._sampler.sampling:
            self._sampler.offer(exchange, source)
        sums = self._interval.sums(place, exchange)
        if sums is None or not stream.metrics:
            return
        for name, value_of in stream.metrics.items():
            value = value_of(exchange)
            if value is not None:
                spread_value(sums.metrics.setdefault(name, spread()), value, _METRIC_BOUNDS)

    def _hand_over(
        self, key: Key, stream: _Stream, exchanges: Sequence[Exchange], direction: int, after: int
    ) -> Sequence[Exchange]:
        """Go on with the protocol that the two sides agreed on, if its parser is here. after: a gap that follows.

        Returns what is still to be taken.
        """
        old = stream.connection
        successor = self._successors.get(old.switched)
        if successor is None:
            return exchanges
        number, spoken = successor
        new = spoken.connect(self._limits)
        taken = old.agreed if old.agreed is not None and new.take_over(old.agreed) else None
        for exchange in (*exchanges, *old.close()):
            if exchange is not taken:
                self.take(stream, exchange)
        self._settle(stream)
        stream.go_on(new, number, spoken)
        self.again.append((*key, number))
        self._count("connections handed over")
        found: list[Exchange] = []
        for side in (1 - direction, direction):
            buffer = old.readers[side].buffer
            gap = after if side == direction else 0
            found += new.feed(side, old.unread(side), gap, buffer.end_ns, buffer.began_ns)
        return found

    def _leave(self, key: Key, stream: _Stream) -> None:
        """What follows is of another protocol, and of none until the kernel has asked the classifiers again."""
        self.again.append((*key, 0))
        self._end(key, stream)
        stream.protocol = _LEFT
        self._streams[key] = stream

    def _end(self, key: Key, stream: _Stream) -> None:
        self._streams.pop(key, None)
        if stream.protocol == _LEFT:
            return
        try:
            for exchange in stream.connection.close():
                self.take(stream, exchange)
        except Exception:  # noqa: BLE001 - see feed
            self._fail(key, stream.place[1])
        self._settle(stream)

    def _fail(self, key: Key, tgid: int, stream: _Stream | None = None) -> None:
        """What the rest of the connection is, the classifiers are to say."""
        self._count(PARSER_FAILED)
        self._lose(tgid, Loss.UNREADABLE, 1)
        if stream is not None:
            stream.protocol = _LEFT
            self.again.append((*key, 0))

    def expire(self, now_ns: int | None = None) -> None:
        """Give up on halves that have waited for a minute. Also finds out what was lost."""
        before = (self._now_ns() if now_ns is None else now_ns) - _WAIT_NS
        for key, stream in list(self._streams.items()):
            if stream.protocol == _LEFT:
                continue
            try:
                for exchange in stream.connection.expire(before):
                    self.take(stream, exchange)
            except Exception:  # noqa: BLE001 - see feed
                self._fail(key, stream.place[1], stream)
            self._settle(stream)

    def _settle(self, stream: _Stream) -> None:
        losses = stream.connection.losses
        for cause, count in losses.items() if losses else ():
            more = count - stream.told.get(cause, 0)
            if more:
                self._lose(stream.place[1], cause, more)
                stream.told[cause] = count

    def _lose(self, tgid: int, cause: str, count: int) -> None:
        self._losses[tgid, str(cause)] = self._losses.get((tgid, str(cause)), 0) + count

    def _count(self, step: str, more: int = 1) -> None:
        self.steps[step] = self.steps.get(step, 0) + more

    def report(self, expire: bool = True) -> dict[str, Any]:
        """What was found since the last one, for JSON.

        again: connections that are not what they seemed, and what they go on with; 0 if the classifiers are to say.
        """
        if expire:
            self.expire()
        if self._interval.lost:
            self._lose(0, Loss.QUEUE_FULL, self._interval.lost)
        if self._watcher.lost:
            self._lose(0, Loss.QUEUE_FULL, self._watcher.lost)
        steps, self.steps = self.steps, {}
        losses, self._losses = self._losses, {}
        for step, count in (self._sampler.take_losses() | self._calls.take_losses()).items():
            steps[step] = steps.get(step, 0) + count
        again, self.again = self.again, []
        learned, self._learned = self._learned, {}
        return {
            "rows": self._interval.take(),
            "losses": [[tgid, cause, count] for (tgid, cause), count in losses.items()],
            "steps": steps,
            "samples": samples_told(self._sampler.take()),
            "watched": self._watcher.take(),
            "again": again,
            "learned": [[operation, *names] for operation, names in learned.items()],
            "open": len(self._streams),
        }


def feed_all(streams: Streams, batches: Iterable[Batch]) -> int:
    """Feed them all. Returns how many."""
    count = 0
    feed = streams.feed
    for memory, places in batches:
        for begin, _ in places:
            feed(memory, begin)
            count += 1
    return count
