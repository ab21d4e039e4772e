"""The two directions of a CQL connection: envelopes, inside v5's frames or not, compressed or not."""

import re
from abc import abstractmethod
from collections import deque
from typing import ClassVar, Generic, NamedTuple, TypeVar

from rover_core.model import Loss
from rover_core.wire import INVALID, NEED_MORE, SKIPPED, Limits, Message, Outcome, Reader
from rover_core.wire.blocks import lz4, snappy
from rover_cql.frames import COMPRESSED_HEADER, HEADER, TRAILER, Frame, frame_at, intact
from rover_cql.messages import (
    COMPRESSED,
    LOOKED_AT,
    ROWS,
    UNFRAMED,
    V5,
    Nonsense,
    Request,
    Response,
    header_at,
    request_of,
    response_of,
)
from rover_cql.messages import HEADER as ENVELOPE
from rover_cql.messages import Header as Header

Detail = TypeVar("Detail", Request, Response)

FRAME = 16_384
"""Bytes of a frame that are looked at, and twice as many that they become."""
_LARGEST = 1 << 24  # bytes that a compressed body may say it becomes before it is no LZ4
_BEHIND = (COMPRESSED_HEADER + 2, COMPRESSED_HEADER + 1, COMPRESSED_HEADER, HEADER, 0)
"""How far before an envelope what holds it may begin; LZ4 puts one byte or two in front of it."""


class Part(NamedTuple, Generic[Detail]):
    """Bytes to consume. detail: the message that they are of; None for nothing that is known. ends: it ends there."""

    detail: Detail | None
    size: int
    certain: bool
    ends: bool


class Half(Reader[Detail], Generic[Detail]):
    """What both directions do. losses: to count messages in that were not captured."""

    keep = 160
    answering: ClassVar[bool]
    start: ClassVar["re.Pattern[bytes]"]
    """What envelopes begin with."""
    first: ClassVar[int] = LOOKED_AT
    """Bytes of a compressed body that are looked at before it is known that this is not enough."""

    def __init__(self, limits: Limits, losses: dict[Loss, int]) -> None:
        super().__init__(limits)
        self._losses = losses
        self._parts: deque[Part[Detail]] = deque()
        self._rest = 0  # bytes of the message that the next frames hold
        self._frame: Frame | None = None  # the last one that began with a message
        self._certain = False
        self._version = 0

    @abstractmethod
    def _parse(self, header: Header, data: bytes, whole: bool) -> tuple[Detail, bool]:
        """The message, and whether what is there says it; Nonsense."""

    def _is_enough(self, detail: Detail) -> bool:
        """Whether there is nothing more to find."""
        return True

    def read(self) -> Message[Detail] | Outcome:
        if self._parts:
            return self._take()
        buffer = self.buffer
        data, at = buffer.data, buffer.at
        have = len(data) - at
        if have < ENVELOPE.size:
            return NEED_MORE
        if (not self._certain or self._version == V5) and (frame := frame_at(data, at)):
            return self._open_frame(frame, data, at, have) or self._take()
        header = self._header(data, at)
        return INVALID if header is None else self._read_envelope(header, data, at, have)

    def _take(self) -> Message[Detail] | Outcome:
        """Go on with the first part."""
        part = self._parts[0]
        if part.size:
            self.buffer.skip(part.size)
            if self.buffer.owed:
                self._parts[0] = part._replace(size=0)
                return NEED_MORE
        self._parts.popleft()
        if part.detail is None:
            self.buffer.forget()
            return SKIPPED
        if not part.ends:
            self._parts.appendleft(part._replace(size=0))
            return self._go_on()
        return self.buffer.finish(part.detail, part.certain)

    def _go_on(self) -> Outcome:
        """The message in hand continues in another frame."""
        buffer = self.buffer
        data, at = buffer.data, buffer.at
        if len(data) - at < COMPRESSED_HEADER:
            return NEED_MORE
        frame = frame_at(data, at)
        if frame is None or frame.contained:
            return INVALID
        part = self._parts.popleft()
        self._rest -= frame.plain
        self._parts.append(part._replace(size=frame.size, ends=self._rest <= 0))
        return SKIPPED

    def _header(self, data: bytes | bytearray, at: int) -> Header | None:
        """Of an envelope outside frames."""
        header = header_at(data, at, self.answering)
        if header is None or (header.version == V5 and (self._frame or header.opcode not in UNFRAMED)):
            return None
        if self._certain and header.version != self._version and header.opcode not in UNFRAMED:
            return None
        return header

    def _read_envelope(
        self, header: Header, data: bytes | bytearray, at: int, have: int
    ) -> Message[Detail] | Outcome:
        have -= ENVELOPE.size
        ahead = min(header.length, LOOKED_AT)
        cut = have < ahead
        if cut and not self.buffer.after and self._certain:
            return NEED_MORE
        start = at + ENVELOPE.size
        try:
            detail, certain = self._look(header, bytes(data[start : start + min(have, ahead)]))
        except Nonsense:
            return INVALID
        if cut and not self.buffer.after:
            return NEED_MORE
        if cut and not self._certain and not certain:
            return INVALID  # so little is there that it may be anything
        self._version = header.version
        self._certain = True
        buffer = self.buffer
        buffer.skip(ENVELOPE.size + header.length)
        if buffer.owed:
            self._parts.append(Part(detail, 0, certain, True))
            return NEED_MORE
        return buffer.finish(detail, certain)

    def _look(self, header: Header, body: bytes) -> tuple[Detail, bool]:
        """body: its beginning."""
        whole = len(body) == header.length
        if not header.flags & COMPRESSED or header.version == V5:
            return self._parse(header, body, whole)
        for most in (self.first, LOOKED_AT):
            plain, whole = _beginning(body, header.length, most)
            detail, certain = self._parse(header, plain, whole)
            if whole or len(plain) < most or self._is_enough(detail):
                break
        return detail, certain

    def _open_frame(self, frame: Frame, data: bytes | bytearray, at: int, have: int) -> Outcome | None:
        """Parts of all messages that a frame holds, as far as they are in hand."""
        if have < min(frame.size, frame.header + FRAME) and not self.buffer.after:
            return NEED_MORE
        start = at + frame.header
        payload = bytes(data[start : start + min(frame.payload, FRAME)])
        end = start + frame.payload
        if have >= frame.size and len(payload) == frame.payload and not intact(payload, data[end : end + TRAILER]):
            return INVALID
        self._version = V5
        self._certain = True
        plain = payload
        if frame.compressed:
            plain = lz4(payload, min(frame.plain, ENVELOPE.size + LOOKED_AT))
            if len(plain) == ENVELOPE.size + LOOKED_AT and self._holds_more(plain, frame):
                plain = lz4(payload, min(frame.plain, 2 * FRAME))
        self._parts.extend(self._apart(frame, plain, min(have, frame.size)))
        return None

    def _holds_more(self, plain: bytes, frame: Frame) -> bool:
        """Whether another message follows the first in a frame."""
        header = header_at(plain, 0, self.answering)
        return header is not None and ENVELOPE.size + header.length < frame.plain

    def _apart(self, frame: Frame, plain: bytes, have: int) -> list[Part[Detail]]:
        """plain: what is known of the frame's content. Each message gets its share of the bytes on the wire."""
        parts: list[Part[Detail]] = []
        pos = taken = 0
        room = have - 1  # what is in hand is not at its end before the last part is taken
        while pos < frame.plain:
            header = header_at(plain, pos, self.answering) if pos + ENVELOPE.size <= len(plain) else None
            if header is None or header.version != V5:
                break
            body = pos + ENVELOPE.size
            try:
                detail, certain = self._look(header, plain[body : body + min(header.length, LOOKED_AT)])
            except Nonsense:
                break
            pos = body + header.length
            end = frame.size * min(pos, frame.plain) // frame.plain
            cut = end > room and pos < frame.plain  # its share of the bytes cannot be told
            parts.append(Part(detail, min(end, room) - taken, certain and not cut, pos <= frame.plain))
            taken = min(end, room)
        if pos < frame.plain and (parts or frame.contained):  # what follows was not captured, or is nonsense
            self._losses[Loss.GAP] = self._losses.get(Loss.GAP, 0) + 1
            parts.append(Part(None, 0, False, True))
        elif not parts:  # in the middle of a message whose beginning was not seen
            parts.append(Part(None, 0, False, True))
        self._rest = max(0, pos - frame.plain)
        self._frame = frame
        parts[-1] = parts[-1]._replace(size=parts[-1].size + frame.size - taken)
        return parts

    def find(self, at: int) -> int:
        data = self.buffer.data
        for match in self.start.finditer(data, at):
            for behind in _BEHIND:
                start = match.start() - behind
                if start >= at and self._begins(start, behind):
                    return start
        return -1

    def _begins(self, at: int, behind: int) -> bool:
        """Whether a message certainly begins there, with an envelope that far behind."""
        data = self.buffer.data
        have = len(data) - at
        if behind:
            frame = frame_at(data, at)
            return frame is not None and frame.header <= behind and (behind > COMPRESSED_HEADER) == frame.compressed
        header = self._header(data, at) if have >= ENVELOPE.size else None
        if header is None:
            return False
        body = data[at + ENVELOPE.size : at + ENVELOPE.size + min(header.length, LOOKED_AT)]
        try:
            _, certain = self._look(header, bytes(body))
        except Nonsense:
            return False
        return certain or have >= ENVELOPE.size + header.length

    def abandon(self) -> Detail | None:
        detail = self._parts[0].detail if self._parts else None
        self._parts.clear()
        self._rest = 0
        self._certain = False
        return detail

    def bridge(self, gap: int) -> bool:
        """Of a message in several frames nothing is missing but its end, if the others are as long as the first."""
        frame, have = self._frame, len(self.buffer)
        if not self._rest or frame is None or frame.compressed or have >= COMPRESSED_HEADER:
            return False
        frames, last = divmod(self._rest, frame.plain)
        size = self._rest + (frames + bool(last)) * (frame.header + TRAILER)
        if have + gap > size:
            return False
        self.buffer.skip(have)
        self._parts[0] = self._parts[0]._replace(size=size - have - gap, ends=True)
        self._rest = 0
        return True


def _beginning(body: bytes, length: int, most: int) -> tuple[bytes, bool]:
    """What a compressed body begins with, and whether that is all of it: LZ4 has a length in front, Snappy another.

    length: of the whole body. most: bytes to begin with.
    """
    whole = len(body) == length
    size = int.from_bytes(body[:4], "big")
    if len(body) > 4 and size < _LARGEST:
        if size == 0:
            return b"", True
        plain = lz4(body[4:], min(size, most))
        if plain:
            return plain, whole and len(plain) == size
    plain = snappy(body, most)
    return plain, whole and len(plain) < most


class RequestReader(Half[Request]):
    answering = False
    start = re.compile(rb"(?=[\x03-\x05][\x00-\x1f][\x00-\x7f].[\x01\x05\x07\x09-\x0b\x0d\x0f][\x00-\x10])", re.S)

    def _parse(self, header: Header, data: bytes, whole: bool) -> tuple[Request, bool]:
        return request_of(header, data, whole)


class ResponseReader(Half[Response]):
    answering = True
    first = 512
    start = re.compile(rb"(?=[\x83-\x85][\x00-\x1f]..[\x00\x02\x03\x06\x08\x0c\x0e\x10][\x00-\x10])", re.S)

    def _parse(self, header: Header, data: bytes, whole: bool) -> tuple[Response, bool]:
        return response_of(header, data, whole)

    def _is_enough(self, detail: Response) -> bool:
        return bool(detail.kind) and (detail.kind != ROWS or detail.rows is not None)
