"""What both directions of a MySQL connection are made of: packets, with and without compression."""

from abc import abstractmethod
from typing import Generic, TypeVar

from rover_core.wire import INVALID, NEED_MORE, SKIPPED, Buffer, Limits, Message, Outcome, Reader
from rover_mysql.compression import COMPRESSED_HEAD, COMPRESSED_HEADER, UNPACKED, unpack
from rover_mysql.packets import HEADER, Session

Detail = TypeVar("Detail")

_FIRST_COLUMN = 13  # bytes that a number of columns takes to be one for certain
_LATEST_FIRST = 3  # number of a message's first packet: the answer to a login inside TLS has three before it
_UNKNOWN = -1


class PacketReader(Reader[Detail], Generic[Detail]):
    """What both directions do: packets, plain or out of compressed ones, whose content waits in a buffer of its own.

    certain: the place in the stream is known: what stands here begins a packet. blind: a message has begun, and how
    far it goes is among what was not captured: it lasts until the other side's turn. unpacked: bytes of a compressed
    packet that are looked at.
    """

    keep = 16
    patient = True
    unpacked = UNPACKED

    def __init__(self, limits: Limits, session: Session) -> None:
        super().__init__(limits)
        self.session = session
        self.certain = False
        self.blind = False
        self.source = self.buffer
        self._hidden = 0  # bytes behind those in `source` that were not unpacked
        self._behind = 0  # bytes of a compressed packet behind a gap, or _UNKNOWN if the gap goes beyond it

    def read(self) -> Message[Detail] | Outcome:
        if self.blind:
            self.buffer.skip(len(self.buffer))
            return NEED_MORE
        if self.session.compressed is (self.source is self.buffer):
            self.source = Buffer() if self.session.compressed else self.buffer
        if self.source is self.buffer:
            return self.step(self.buffer)
        if self._behind > 0:
            behind, self._behind = self._behind, 0
            self.buffer.skip(behind)
            if self.buffer.owed:
                return NEED_MORE
        while True:
            result = NEED_MORE if self.source.owed else self.step(self.source)
            if result is not NEED_MORE:
                return result
            if (self._hidden or self._behind) and (outcome := self._leap()):
                return outcome
            if (outcome := self._unpack(len(self.buffer))) is not SKIPPED:
                return outcome

    @property
    def left(self) -> int:
        """Bytes that were unpacked and not read yet."""
        return 0 if self.source is self.buffer else len(self.source)

    @property
    @abstractmethod
    def begun(self) -> bool:
        """Part of a message was read."""

    @abstractmethod
    def step(self, source: Buffer) -> Message[Detail] | Outcome:
        """As `read`, of packets that are not compressed."""

    @abstractmethod
    def begins(self, payload: bytes | bytearray, length: int, sequence: int) -> bool:
        """Whether a packet certainly begins a message."""

    def doubt(self, source: Buffer, have: int, length: int) -> Outcome | None:
        """Where the place is not certain: None if a message begins here all the same."""
        data, at = source.data, source.at
        inside = source is not self.buffer
        if self.looks_plain(data, at) if inside else self.looks_right(data, at):
            return SKIPPED if self.session.compressed and not inside else None  # read it as what it looked like
        newest = self.buffer.newest
        if not inside and at < newest and self.looks_right(data, newest):
            return INVALID  # what stands before it is the rest of something
        enough = HEADER + max(_FIRST_COLUMN, min(length, 64))
        return NEED_MORE if self.patient and have < enough and data[at + 3] <= _LATEST_FIRST else INVALID

    def find(self, at: int) -> int:
        """Messages begin calls, and a call may read a header alone."""
        buffer = self.buffer
        header = COMPRESSED_HEADER if self.session.compressed else HEADER
        for start in (buffer.newest - header, buffer.newest):
            if start >= at and self.looks_right(buffer.data, start):
                return start
        return -1

    def looks_right(self, data: bytes | bytearray, at: int) -> bool:
        if not self.session.compressed and self.looks_plain(data, at):
            return True
        if len(data) - at <= COMPRESSED_HEADER or (self.session.flags and not self.session.compressed):
            return False
        return self._looks_compressed(data, at)

    def looks_plain(self, data: bytes | bytearray, at: int) -> bool:
        if len(data) - at <= HEADER:
            return False
        return self.begins(data[at + HEADER : at + HEADER + 64], length_at(data, at), data[at + 3])

    def _looks_compressed(self, data: bytes | bytearray, at: int) -> bool:
        start = at + COMPRESSED_HEADER
        if len(data) - start <= HEADER or not length_at(data, at):
            return False
        size = length_at(data, at + 4)
        plain = unpack(bytes(data[start : start + min(length_at(data, at), COMPRESSED_HEAD)]), size, HEADER + 64)
        inside = length_at(plain, 0) + HEADER if len(plain) > HEADER else 0
        if not inside or inside > (size or length_at(data, at)):
            return False
        if self.begins(plain[HEADER : HEADER + 64], inside - HEADER, plain[3]):
            self.session.compressed = True
            return True
        return False

    def _unpack(self, have: int) -> Outcome:
        """Take one compressed packet."""
        buffer = self.buffer
        data, at = buffer.data, buffer.at
        if have < COMPRESSED_HEADER:
            return NEED_MORE
        length = length_at(data, at)
        wanted = COMPRESSED_HEADER + min(length, COMPRESSED_HEAD)
        if have < wanted:
            return NEED_MORE
        if not self._take(wanted):
            return INVALID
        buffer.skip(COMPRESSED_HEADER + length)
        return NEED_MORE if buffer.owed else SKIPPED

    def _take(self, have: int) -> bool:
        """Unpack what is there of a compressed packet's so many bytes; False if that makes no sense."""
        data, at = self.buffer.data, self.buffer.at
        length, size = length_at(data, at), length_at(data, at + 4)
        plain = unpack(bytes(data[at + COMPRESSED_HEADER : at + have]), size, self.unpacked)
        if not plain and length:
            return False
        self.source.push(plain, 0, 0)
        self._hidden = (size or length) - len(plain)
        return True

    def _leap(self) -> Outcome | None:
        """Over what was not unpacked. Where no packet inside covers it, a message lasts until the other's turn."""
        hidden, self._hidden = self._hidden, 0
        unknown, self._behind = self._behind, 0
        if self.source.leap(hidden, 0, 0) == 0 and not unknown:
            return None
        if not self.go_blind():
            return INVALID
        self.buffer.skip(len(self.buffer))
        return NEED_MORE

    def go_blind(self) -> bool:
        """Whether a message has begun, which then goes on until the other side's turn."""
        self.blind = self.begun
        return self.blind

    def bridge_compressed(self, gap: int) -> bool:
        """As `bridge`. A packet of which the beginning was captured is unpacked as far as that goes."""
        have = len(self.buffer)
        if have <= COMPRESSED_HEADER or not (self.begun or self.certain):
            return self.go_blind()
        behind = COMPRESSED_HEADER + length_at(self.buffer.data, self.buffer.at) - have - gap
        if not self._take(have):
            return self.go_blind()
        self._behind = max(behind, _UNKNOWN)
        self.buffer.skip(have)
        return True

    def finish(self, detail: Detail, complete: bool = True) -> Message[Detail]:
        self.certain = True
        return self.buffer.finish(detail, complete)

    def forget(self) -> None:
        """The place is lost."""
        self.certain = self.blind = False
        self._hidden = self._behind = 0
        if self.source is not self.buffer:
            self.source = Buffer()


def length_at(data: bytes | bytearray, at: int) -> int:
    return data[at] | data[at + 1] << 8 | data[at + 2] << 16
