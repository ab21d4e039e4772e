"""The two directions of an HTTP/2 connection: frames in, halves of streams out (RFC 9113)."""

import re
from collections import OrderedDict
from itertools import islice
from typing import Any

from rover_core.wire import INVALID, NEED_MORE, SKIPPED, Direction, Limits, Message, Outcome, Reader
from rover_http2 import frames
from rover_http2.frames import HEAD, PREFACE, Frame, frame_at, without_padding
from rover_http2.hpack import Decoder, Field
from rover_http2.messages import NEEDED, GoAway, Request, Reset, Response, bounded, guessed, shortened, value_of

_LONGEST_KEPT = 8192  # characters of the fields of a message that may be sampled
# Frames that say what they are: DATA is found by the frame behind it.
_START = re.compile(
    rb"(?=\0[\0-\x40].[\x01-\x09\0][\0\x01\x04\x05\x08\x09\x0c\x0d\x20\x21\x24\x25\x28\x29\x2c\x2d])", re.S
)
_CANDIDATES = 64
_STREAM_MASK = 0x7FFFFFFF
_USUAL_STREAMS = 24  # bits of a stream's number, where frames are looked for
_TELLING = frozenset((frames.HEADERS, frames.RST_STREAM, frames.GOAWAY))


class Half:
    """What one side has sent of a stream so far."""

    __slots__ = ("begun", "complete", "content", "end_ns", "fields", "partial", "size", "start_ns", "trailers")

    def __init__(self, start_ns: int) -> None:
        self.start_ns = self.end_ns = start_ns
        self.size = 0
        self.fields: list[Field] = []
        self.trailers: list[Field] = []
        self.begun = False  # its (final) headers are there
        self.partial = False
        self.complete = True
        self.content = bytearray()

    def add(self, size: int, end_ns: int) -> None:
        """A frame's, head included."""
        self.size += size
        self.end_ns = end_ns

    def message(self, detail: Any) -> Message[Any]:
        complete = self.complete and not self.partial
        return Message(self.start_ns, self.end_ns, self.size, complete, detail, bytes(self.content))


class FrameReader(Reader[Any]):
    """Messages are what one side sends of a stream, promises of the server, RST_STREAM and GOAWAY.

    halves: what has begun, by stream. Header blocks are read whatever becomes of their streams: later ones refer to
    them.
    """

    keep = 64

    def __init__(self, limits: Limits, direction: Direction) -> None:
        super().__init__(limits)
        self.halves: OrderedDict[int, Half] = OrderedDict()
        self.overflow: list[Message[Any]] = []  # for which there was no room
        self.doubt_ns = 0  # until when something may have been missed
        self._room = limits.open
        self._longest = limits.buffered
        self._asks = direction == Direction.CLIENT
        self._decoder = Decoder(None if limits.content else NEEDED)
        self._sure = False  # that a frame begins where one is looked for
        self._data: Frame | None = None  # whose payload has not all come
        self._block: tuple[Frame, int, bytearray] | None = None  # that goes on, and the stream that it promises

    def read(self) -> Message[Any] | Outcome:
        buffer = self.buffer
        if self._data is not None:
            frame, self._data = self._data, None
            if message := self._end_data(frame):
                return message
        while True:
            data, at = buffer.data, buffer.at
            have = len(data) - at
            if have < HEAD:
                return NEED_MORE
            head = frame_at(data, at)
            if head is None or (head.kind == frames.PUSH_PROMISE and self._asks):
                return self._read_preface()
            length, kind, _, _ = head
            if self._block is not None and (kind != frames.CONTINUATION or head.stream != self._block[0].stream):
                return INVALID
            if not self._sure:
                if at < buffer.newest < at + HEAD + length and self._certain(buffer.newest, -1):
                    return INVALID
                if have < HEAD + length:
                    return INVALID if kind == frames.DATA else NEED_MORE
                self._sure = True
            if kind == frames.DATA:
                buffer.drop(HEAD)
                buffer.skip(length)
                if buffer.owed:
                    self._data = head
                    return NEED_MORE
                message = self._end_data(head)
                if message:
                    return message
                continue
            if have < HEAD + length:
                return NEED_MORE
            payload = bytes(data[at + HEAD : at + HEAD + length])
            buffer.drop(HEAD + length)
            result = self._take(head, payload)
            if result is not SKIPPED:
                return result

    def _read_preface(self) -> Outcome:
        buffer = self.buffer
        begun = bytes(buffer.data[buffer.at : buffer.at + len(PREFACE)])
        if not self._asks or not PREFACE.startswith(begun):
            return INVALID
        if len(begun) < len(PREFACE):
            return NEED_MORE
        buffer.drop(len(PREFACE))
        buffer.forget()
        self._sure = True
        return SKIPPED

    def _take(self, frame: Frame, payload: bytes) -> Message[Any] | Outcome:
        """A frame that is no DATA and has come whole."""
        match frame.kind:
            case frames.HEADERS | frames.PUSH_PROMISE | frames.CONTINUATION:
                return self._take_block(frame, payload)
            case frames.RST_STREAM:
                return self.buffer.finish(Reset(frame.stream, int.from_bytes(payload, "big")))
            case frames.GOAWAY:
                last, code = int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big")
                return self.buffer.finish(GoAway(last & _STREAM_MASK, code))
        self.buffer.forget()
        return SKIPPED

    def _take_block(self, frame: Frame, payload: bytes) -> Message[Any] | Outcome:
        if frame.kind == frames.CONTINUATION:
            if self._block is None:
                return INVALID
            first, promised, block = self._block
            block += payload
        else:
            part = without_padding(frame, payload)
            promised = 0
            if part is not None and frame.kind == frames.PUSH_PROMISE:
                promised, part = int.from_bytes(part[:4], "big") & _STREAM_MASK, part[4:]
                if self._asks or not promised:
                    return INVALID
            if part is None:
                return INVALID
            first, block = frame, bytearray(part)
        if len(block) > self._longest:
            return INVALID
        if not frame.flags & frames.END_HEADERS:
            self._block = first, promised, block
            return SKIPPED
        self._block = None
        try:
            fields, whole = self._decoder.decode(bytes(block))
        except ValueError:
            return INVALID
        if not whole:
            fields = guessed(fields)
        came = self.buffer.finish(None)
        if promised:
            kept = self._kept(fields)
            return Message(came.start_ns, came.end_ns, 0, whole, Request(promised, kept, not whole, pushed=True))
        return self._take_fields(first, came, fields, whole)

    def _take_fields(
        self, frame: Frame, came: Message[None], fields: list[Field], whole: bool
    ) -> Message[Any] | Outcome:
        stream = frame.stream
        half = self.halves.get(stream)
        ends = frame.flags & frames.END_STREAM
        if half is None:
            named = value_of(fields, ":method" if self._asks else ":status")
            if not named and whole and not ends:
                return INVALID
            half = self._begin(stream, came.start_ns)
            half.complete = bool(named) or not whole  # else they are trailers, and what was before them is lost
        half.add(came.size, came.end_ns)
        half.partial |= not whole
        if half.begun:
            half.trailers = self._kept(fields)
        else:
            half.fields = self._kept(fields)
            half.begun = self._asks or not value_of(fields, ":status").startswith("1")
        return self._end(stream, half) if ends else SKIPPED

    def _kept(self, fields: list[Field]) -> list[Field]:
        return bounded(fields, _LONGEST_KEPT) if self.buffer.content else shortened(fields)

    def _begin(self, stream: int, start_ns: int) -> Half:
        half = self.halves[stream] = Half(start_ns)
        if len(self.halves) > self._room:
            oldest, left = self.halves.popitem(last=False)
            left.complete = False
            self.overflow.append(self.made(oldest, left))
        return half

    def _end_data(self, frame: Frame) -> Message[Any] | None:
        buffer = self.buffer
        part = buffer.kept if buffer.content else b""
        buffer.forget()
        half = self.halves.get(frame.stream)
        if half is None:
            return None
        half.add(HEAD + frame.length, buffer.end_ns)
        if part and len(half.content) < buffer.content:
            if frame.flags & frames.PADDED:
                part = part[1 : max(1, frame.length - part[0])]
            half.content += part[: buffer.content - len(half.content)]
        return self._end(frame.stream, half) if frame.flags & frames.END_STREAM else None

    def _end(self, stream: int, half: Half) -> Message[Any]:
        self.halves.pop(stream, None)
        return self.made(stream, half)

    def made(self, stream: int, half: Half, reset: int = -1) -> Message[Any]:
        """What is known of a stream's half."""
        kind = Request if self._asks else Response
        return half.message(kind(stream, half.fields, half.partial, half.trailers, reset))

    def take(self, stream: int, complete: bool, reset: int = -1, end_ns: int = 0) -> Message[Any] | None:
        """What there is of a half that will not go on. complete: nothing of it is missing."""
        half = self.halves.pop(stream, None)
        if half is None:
            return None
        half.complete &= complete
        half.end_ns = max(half.end_ns, end_ns)
        return self.made(stream, half, reset)

    def abandon(self) -> None:
        self._decoder.forget()
        self._block = self._data = None
        self._sure = False
        for half in self.halves.values():
            half.complete = False

    def find(self, at: int) -> int:
        data, buffer = self.buffer.data, self.buffer
        anchor = buffer.newest if buffer.newest >= at and self._certain(buffer.newest, -1) else -1
        for index in self._candidates(at):
            if index == anchor or (self._asks and data.startswith(PREFACE, index)) or self._certain(index, anchor):
                self._sure = True
                self.doubt_ns = buffer.end_ns if index > buffer.newest else buffer.previous_ns
                return index
        return -1

    def _candidates(self, at: int) -> list[int]:
        data = self.buffer.data
        preface = data.find(PREFACE, at) if self._asks else -1
        found = [match.start() for match in islice(_START.finditer(data, at), _CANDIDATES)]
        return sorted(index for index in {self.buffer.newest, preface, *found} if index >= at)

    def _certain(self, index: int, anchor: int) -> bool:
        """Whether frames follow each other from here on: to `anchor`, if something certainly begins there.

        Else to the end of what is in hand: one that begins a call, or two.
        """
        data = self.buffer.data
        end, count, begins = len(data), 0, index == self.buffer.newest
        while index + HEAD <= end:
            frame = frame_at(data, index)
            if frame is None or frame.stream >> _USUAL_STREAMS or not (frame.kind or frame.length or frame.flags):
                return False
            if self._asks and frame.kind == frames.PUSH_PROMISE:
                return False
            before, index = index, index + HEAD + frame.length
            count += 1
            if before < anchor <= index:
                return anchor == index
            if anchor < 0 and index <= end and (count > 1 or index == end or (begins and frame.kind in _TELLING)):
                return True
        return False
