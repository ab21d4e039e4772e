"""The generic loop: bytes of two directions in, exchanges out, whatever is missing between them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import Enum
from typing import Any, ClassVar, Final, Generic, TypeVar

from rover_core.model import Loss
from rover_core.wire.buffer import Buffer
from rover_core.wire.records import Direction, Exchange, Limits, Message
from rover_core.wire.stitching import Stitcher

Detail = TypeVar("Detail")


class Outcome(Enum):
    """What a step of a reader came to, where it is not a message.

    NEED_MORE: nothing was consumed that matters; call again when more has come.
    SKIPPED: bytes were consumed that are no message of their own; go on.
    INVALID: the bytes at the front are not of this protocol; resynchronise, unless it is `switched`.
    """

    NEED_MORE = 1
    SKIPPED = 2
    INVALID = 3


NEED_MORE: Final = Outcome.NEED_MORE
SKIPPED: Final = Outcome.SKIPPED
INVALID: Final = Outcome.INVALID


class Reader(ABC, Generic[Detail]):
    """A protocol's grammar for one direction: three functions. It is never called while its buffer owes bytes."""

    keep: ClassVar[int] = 16
    """Bytes at the end that may be the beginning of a message, when `find` finds none."""

    def __init__(self, limits: Limits) -> None:
        self.buffer = Buffer(limits.content)
        self.lost = False
        self.cut_short: Detail | None = None

    @abstractmethod
    def read(self) -> Message[Detail] | Outcome:
        """Take one step at the front of the buffer. A message is made by `buffer.finish`."""

    @abstractmethod
    def find(self, at: int) -> int:
        """Index in buffer.data, from `at` on, where a message certainly begins; -1 for none."""

    @abstractmethod
    def abandon(self) -> Detail | None:
        """Forget the message that is half read; return what is known of it, None if that is not worth a record."""

    def bridge(self, gap: int) -> bool:
        """Whether the reader knows what a gap of this length behind the bytes in hand holds; it consumes those."""
        return False

    def closed(self) -> bool:
        """Whether the end of the connection is the proper end of what is being read."""
        return False


class Connection:
    """One connection's parser. `feed` it in the order of arrival; the clock is whatever the timestamps are of.

    losses: messages lost, by cause. stray_bytes: how many bytes since the last message belong to none; when it grows,
    the connection is not of this protocol, or no longer. switched: the protocol that the two sides agreed to go on
    with (`h2c`, `websocket`, `connect`): nothing is read from then on, and `unread` has the bytes that are its. Look
    after each `feed`. agreed: the exchange in which they did, if its request is still to be answered; the parser that
    goes on is offered it (`take_over`).
    """

    def __init__(self, client: Reader[Any], server: Reader[Any], stitcher: Stitcher, limits: Limits) -> None:
        self.readers = (client, server)
        self.stitcher = stitcher
        self.limits = limits
        self.losses = stitcher.losses
        self.stray_bytes = 0
        self.switched = ""
        self.agreed: Exchange | None = None

    def take_over(self, agreed: Exchange) -> bool:
        """Before the first `feed`, of a parser that goes on for another: whether it will answer that request itself.

        If so, the exchange is reported by this parser, not by the other.
        """
        return False

    def feed(self, direction: int, data: bytes, gap: int, timestamp_ns: int, began_ns: int = 0) -> Sequence[Exchange]:
        """Bytes that passed, and the exchanges they completed.

        gap: how many bytes followed `data` and were not captured; -1 for an unknown number. timestamp_ns: when the
        call that moved them ended; began_ns: when it began, if it may have taken long (a write to a slow peer).
        """
        if self.switched:
            return ()
        reader = self.readers[direction]
        buffer = reader.buffer
        buffer.push(data, began_ns or timestamp_ns, timestamp_ns, gap)
        self._advance(direction, reader)
        if buffer.after:
            self._leap(direction, reader, buffer.after, timestamp_ns)
        return self.stitcher.take()

    def adopt(self, request: Message[Any], response: Message[Any] | None = None) -> Sequence[Exchange]:
        """Messages that were read elsewhere, whose bytes will not come, and the exchanges they completed."""
        self.stitch(Direction.CLIENT, request)
        if response is not None:
            self.stitch(Direction.SERVER, response)
        return self.stitcher.take()

    def close(self) -> Sequence[Exchange]:
        """The connection is over: what ends with it, and requests without a response."""
        for direction, reader in zip(Direction, self.readers, strict=True):
            if self.switched:
                break
            complete = not reader.lost and reader.closed()
            self._end_cut_short(direction, reader)
            if reader.buffer.pending and not reader.lost and (detail := reader.abandon()) is not None:
                self.stitch(direction, reader.buffer.finish(detail, complete))
            reader.buffer.clear()
        self.stitcher.close()
        return self.stitcher.take()

    def expire(self, before_ns: int) -> Sequence[Exchange]:
        """Give up on what has waited since before that time for its other half."""
        for direction, reader in zip(Direction, self.readers, strict=True):
            if reader.buffer.end_ns < before_ns:
                self._end_cut_short(direction, reader)
        self.stitcher.expire(before_ns)
        return self.stitcher.take()

    def unread(self, direction: int) -> bytes:
        """Bytes in hand that no message has consumed."""
        buffer = self.readers[direction].buffer
        return bytes(buffer.data[buffer.at :])

    def stitch(self, direction: int, message: Message[Any]) -> None:
        """A message is there. Override for messages that no other answers."""
        if direction:
            self.stitcher.response(message)
        else:
            self.stitcher.request(message)

    def lost(self, direction: int, answering: bool) -> None:
        """Messages are missing (`Stitcher.lost`). Override where the other direction waits for one of them."""
        self.stitcher.lost(direction, answering)

    def resume(self, direction: int) -> None:
        """Read on where a reader waited for the other direction."""
        self._advance(direction, self.readers[direction])

    def _advance(self, direction: int, reader: Reader[Any]) -> None:
        buffer = reader.buffer
        while not (buffer.owed or self.switched):
            if reader.lost and not self._resynchronise(direction, reader):
                return
            result = reader.read()
            if result is NEED_MORE:
                if len(buffer) > self.limits.buffered:
                    self._lose(direction, reader, Loss.OVER_LIMIT)
                    buffer.clear()
                return
            if result is SKIPPED:
                continue
            if result is INVALID:
                if not self.switched:
                    self._lose(direction, reader, Loss.UNREADABLE)
                    buffer.drop(min(1, len(buffer)))
                continue
            self.stray_bytes = 0
            self.stitch(direction, result)
            if buffer.at == len(buffer.data):
                return

    def _leap(self, direction: int, reader: Reader[Any], gap: int, timestamp_ns: int) -> None:
        buffer = reader.buffer
        if gap < 0 and not buffer.endless:  # of unknown length: it may have taken the end of the message along
            buffer.owed = 0
        owed = buffer.owed
        left = buffer.leap(abs(gap), timestamp_ns, timestamp_ns)
        if owed and not buffer.owed:
            self._advance(direction, reader)
        if not left or self.switched:
            return
        if not reader.lost:
            if gap > 0 and reader.bridge(left):
                buffer.owed = left
                buffer.leap(left, timestamp_ns, timestamp_ns)
                self._advance(direction, reader)
                return
            self._lose(direction, reader, Loss.GAP)
        buffer.clear(left)

    def _lose(self, direction: int, reader: Reader[Any], cause: Loss) -> None:
        """The place in the stream is lost. What is known of the message goes on until the next one begins."""
        self.losses[cause] = self.losses.get(cause, 0) + 1
        reader.lost = True
        reader.cut_short = reader.abandon()
        self.lost(direction, direction == Direction.SERVER and reader.cut_short is not None)
        if direction == Direction.CLIENT:
            self._end_cut_short(direction, reader)

    def _end_cut_short(self, direction: int, reader: Reader[Any], end_ns: int = 0) -> None:
        detail, reader.cut_short = reader.cut_short, None
        if detail is not None:
            message = reader.buffer.finish(detail, False)
            self.stitch(direction, message._replace(end_ns=end_ns) if end_ns else message)

    def _resynchronise(self, direction: int, reader: Reader[Any]) -> bool:
        buffer = reader.buffer
        found = reader.find(buffer.at)
        until = found if found >= 0 else max(buffer.at, len(buffer.data) - reader.keep)
        self.stray_bytes += until - buffer.at
        if found < 0:
            buffer.drop(until - buffer.at)
            return False
        end_ns = buffer.end_ns if until > buffer.newest else buffer.previous_ns
        buffer.drop(until - buffer.at)
        self._end_cut_short(direction, reader, end_ns)
        buffer.forget()
        if until < buffer.newest:  # it began with an earlier call
            buffer.start_ns = buffer.previous_ns
        reader.lost = False
        return True
