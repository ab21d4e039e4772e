"""The two directions of a MySQL connection, with and without compression."""

from abc import abstractmethod
from typing import Generic, TypeVar

from rover_core.wire import INVALID, NEED_MORE, SKIPPED, Buffer, Limits, Message, Outcome, Reader
from rover_mysql import packets
from rover_mysql.compression import COMPRESSED_HEAD, COMPRESSED_HEADER, unpack
from rover_mysql.packets import HEADER, LARGEST, Command, Session

Detail = TypeVar("Detail")

_FIRST_COLUMN = 13  # bytes that a number of columns takes to be one for certain
_COMPRESSION = packets.COMPRESS | packets.ZSTD


class PacketReader(Reader[Detail], Generic[Detail]):
    """What both directions do: packets, plain or out of compressed ones, whose content waits in a buffer of its own.

    certain: the place in the stream is known: what stands here begins a packet.
    """

    keep = 16
    patient = True

    def __init__(self, limits: Limits, session: Session) -> None:
        super().__init__(limits)
        self.session = session
        self.certain = False
        self.source = self.buffer

    def read(self) -> Message[Detail] | Outcome:
        if self.session.compressed is (self.source is self.buffer):
            self.source = Buffer() if self.session.compressed else self.buffer
        if self.source is self.buffer:
            return self.step(self.buffer)
        while True:
            result = NEED_MORE if self.source.owed else self.step(self.source)
            if result is not NEED_MORE:
                return result
            if (outcome := self._unpack(len(self.buffer))) is not SKIPPED:
                return outcome

    @property
    def left(self) -> int:
        """Bytes that were unpacked and not read yet."""
        return 0 if self.source is self.buffer else len(self.source)

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
        return NEED_MORE if self.patient and have < enough and data[at + 3] < 3 else INVALID

    def find(self, at: int) -> int:
        """Messages begin calls, and a call may read a header alone."""
        buffer = self.buffer
        for start in (buffer.newest - HEADER, buffer.newest):
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
        return self.begins(data[at + HEADER : at + HEADER + 64], _length(data, at), data[at + 3])

    def _looks_compressed(self, data: bytes | bytearray, at: int) -> bool:
        start = at + COMPRESSED_HEADER
        if len(data) - start <= HEADER or not _length(data, at):
            return False
        size = _length(data, at + 4)
        plain = unpack(bytes(data[start : start + min(_length(data, at), COMPRESSED_HEAD)]), size)
        inside = _length(plain, 0) + HEADER if len(plain) > HEADER else 0
        if not inside or inside > (size or _length(data, at)):
            return False
        if self.begins(plain[HEADER : HEADER + 64], inside - HEADER, plain[3]):
            self.session.compressed = True
            return True
        return False

    def _unpack(self, have: int, gap: int = 0) -> Outcome:
        """Take one compressed packet. gap: bytes that are missing behind those in hand."""
        buffer, source = self.buffer, self.source
        data, at = buffer.data, buffer.at
        if have < COMPRESSED_HEADER:
            return NEED_MORE
        length, size = _length(data, at), _length(data, at + 4)
        wanted = COMPRESSED_HEADER + min(length, COMPRESSED_HEAD)
        if have < wanted and not gap:
            return NEED_MORE
        start = at + COMPRESSED_HEADER
        plain = unpack(bytes(data[start : at + min(have, wanted)]), size)
        if not plain and length:
            return INVALID
        source.push(plain, 0, 0)
        missing = (size or length) - len(plain)
        buffer.skip(COMPRESSED_HEADER + length)
        if missing > 0 and (left := source.leap(missing, 0, 0)):
            return self._missing(left)
        if buffer.owed:
            return NEED_MORE
        return SKIPPED

    def _missing(self, gap: int) -> Outcome:
        """Content of a compressed packet that was not unpacked is not covered by a packet inside."""
        return INVALID

    def finish(self, detail: Detail, complete: bool = True) -> Message[Detail]:
        self.certain = True
        return self.buffer.finish(detail, complete)

    def forget(self) -> None:
        """The place is lost."""
        self.certain = False
        if self.source is not self.buffer:
            self.source = Buffer()


def _length(data: bytes | bytearray, at: int) -> int:
    return data[at] | data[at + 1] << 8 | data[at + 2] << 16


class CommandReader(PacketReader[Command]):
    """From the client.

    blind: of a command of several packets the later ones are not captured, which hides how many bytes they are: it
    lasts until the server answers.
    """

    def __init__(self, limits: Limits, session: Session) -> None:
        super().__init__(limits, session)
        self.blind = False
        self._command: Command | None = None
        self._complete = True
        self._goes_on = False
        self._left = 0

    def begins(self, payload: bytes | bytearray, length: int, sequence: int) -> bool:
        if sequence == 0:
            return packets.is_command(payload, length)
        return sequence < 3 and packets.is_login(payload)

    def step(self, source: Buffer) -> Message[Command] | Outcome:
        if self.blind:
            source.skip(len(source))
            return NEED_MORE
        if self._left:
            left, self._left = self._left, 0
            source.skip(left)
            if source.owed:
                return NEED_MORE
        while self._command is None or self._goes_on:
            data, at = source.data, source.at
            have = len(data) - at
            if have < HEADER:
                return NEED_MORE
            length = _length(data, at)
            if self._command is None:
                if source is self.buffer and self.session.flags & _COMPRESSION and data[at + 3] == 0:
                    self.session.compressed = True  # whoever gives commands has logged in
                    return SKIPPED
                if not self.certain and (outcome := self.doubt(source, have, length)):
                    return outcome
                if have < HEADER + min(length, packets.HEAD):
                    return NEED_MORE
                if not self._begin(data, at, length, True):
                    return INVALID
            self._goes_on = length == LARGEST
            self.session.sequence = data[at + 3]
            source.skip(HEADER + length)
            if source.owed:
                return NEED_MORE
        command, self._command = self._command, None
        return self.finish(command, self._complete)

    def turn(self) -> Message[Command] | None:
        """The server answers: a command of which the end was not seen is over."""
        if not self.blind:
            return None
        packets_unseen = (self.buffer.position - self._unseen_from) // (HEADER + LARGEST) + 1
        self.session.sequence = (self.session.sequence + packets_unseen) % 256
        command = self.abandon()
        assert command is not None
        return self.finish(command, False)

    def bridge(self, gap: int) -> bool:
        buffer = self.buffer
        data, at, have = buffer.data, buffer.at, len(buffer)
        if self._goes_on and not have and not self.session.compressed:
            if not self.blind:
                self.blind, self._unseen_from = True, buffer.position
            return True
        if self._command is not None or self.session.compressed or not self.certain or have < HEADER + 5:
            return False
        length = _length(data, at)
        if have + gap > HEADER + length or not self._begin(data, at, length, False):
            return False
        buffer.skip(have)
        self._left = HEADER + length - have - gap
        self._goes_on = length == LARGEST
        return True

    def abandon(self) -> Command | None:
        command, self._command = self._command, None
        self._goes_on = self.blind = False
        self._left = 0
        self.forget()
        return command

    def _begin(self, data: bytes | bytearray, at: int, length: int, complete: bool) -> bool:
        payload = bytes(data[at + HEADER : at + HEADER + min(length, packets.HEAD)])
        sequence, before = data[at + 3], self.session.sequence
        self.session.sequence = sequence
        if sequence == 0 and before != 255:
            command = _command(payload, self.session)
        elif sequence < 3 and packets.is_login(payload):
            command = self._login(payload, length)
        else:
            command = Command(packets.CONTINUATION)
        if command is None:
            return False
        self._command, self._complete = command, complete
        return True

    def _login(self, payload: bytes, length: int) -> Command:
        flags = int.from_bytes(payload[:4], "little")
        if length == 32 and flags & packets.SSL:
            return Command(packets.TLS)
        self.session.flags = flags
        return Command(packets.LOGIN, name=_text(payload[32:].partition(b"\0")[0]))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _command(payload: bytes, session: Session) -> Command | None:
    kind = payload[0] if payload else 0
    match kind:
        case packets.QUERY:
            return Command(kind, packets.statement_text(payload, session.flags), backslashes=session.backslashes)
        case packets.PREPARE:
            return Command(kind, payload[1:], backslashes=session.backslashes)
        case packets.EXECUTE | packets.CLOSE | packets.RESET | packets.FETCH | packets.SEND_LONG_DATA:
            return Command(kind, statement=int.from_bytes(payload[1:5], "little"))
        case packets.BULK_EXECUTE:
            return Command(kind, statement=int.from_bytes(payload[1:5], "little"))
        case packets.INIT_DB | packets.FIELD_LIST | packets.CHANGE_USER:
            return Command(kind, name=_text(payload[1:].partition(b"\0")[0]))
    return Command(kind) if kind in packets.COMMANDS else None
