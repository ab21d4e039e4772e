"""The two directions of a MongoDB connection: a header with a length, then what its opcode says."""

import re
import struct
from abc import abstractmethod
from typing import ClassVar, Generic, TypeVar

from rover_core.wire import INVALID, NEED_MORE, SKIPPED, Limits, Message, Outcome, Reader
from rover_mongodb.bson import INT32, LEAST, TYPES
from rover_mongodb.compression import beginning
from rover_mongodb.messages import (
    COMMAND,
    COMMAND_REPLY,
    COMPRESSED,
    DELETE,
    GET_MORE,
    HEADER,
    INSERT,
    KILL_CURSORS,
    LONGEST,
    MSG,
    QUERY,
    REPLY,
    REQUESTS,
    RESPONSES,
    UPDATE,
    Command,
    Header,
    Reply,
    command_of,
    reply_of,
)

Detail = TypeVar("Detail", Command, Reply)

_AHEAD = 4096
"""Bytes of a message, behind its header, that are looked at; of compressed ones also as many that they become."""

_COMPRESSION = struct.Struct("<iib")  # opcode, length and compressor
_LEAST = {REPLY: 20, UPDATE: 6, INSERT: 6, QUERY: 14, GET_MORE: 18, DELETE: 6, KILL_CURSORS: 8}
_LEAST |= {COMMAND: 2, COMMAND_REPLY: LEAST, COMPRESSED: _COMPRESSION.size, MSG: 5 + LEAST}
"""Bytes behind the header that a message has at least."""

_SHAPE = 64
"""Bytes of a message by which its shape is told."""

_OPCODE_AT = 12
_NOTHING = (0, -1)  # what a request answers; -1 with drivers before OP_MSG
_KNOWN_FLAGS = 0x10003  # checksum, more to come, exhaust allowed
_NAMESPACE = re.compile(rb"[ -~]{1,64}\.[ -~]{0,255}(?:\0|\Z)")
_DATABASE = re.compile(rb"[ -~]{1,64}(?:\0|\Z)")


class Half(Reader[Detail], Generic[Detail]):
    """What both directions do. `_left`: bytes of the message that are not consumed."""

    keep = 384
    asking: ClassVar[bool]
    opcodes: ClassVar[frozenset[int]]
    start: ClassVar["re.Pattern[bytes]"]
    """Opcodes, behind which the rest is looked at."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._header: Header | None = None
        self._left = 0
        self._detail: Detail | None = None
        self._certain = True

    @abstractmethod
    def _parse(self, header: Header, data: bytes, at: int, end: int, whole: bool) -> tuple[Detail, bool]:
        """The message, and whether what is there says it. whole: it ends at `end`."""

    def read(self) -> Message[Detail] | Outcome:
        buffer = self.buffer
        if self._detail is None:
            if self._header is None and (outcome := self._read_header()):
                return outcome
            header = self._header
            assert header is not None, "it was read"
            data, at = buffer.data, buffer.at
            if (
                self._left > _AHEAD
                and header.opcode == MSG
                and header.compressor is None
                and data[at : at + 1] == b"\1"
            ):
                return self._skip_documents()
            ahead = min(self._left, _AHEAD)
            if len(data) - at < ahead:
                return NEED_MORE
            self._detail, self._certain = self._look(header, data, at, at + ahead, ahead == self._left)
        left, self._left = self._left, 0
        if left:
            buffer.skip(left)
            if buffer.owed:
                return NEED_MORE
        detail, certain = self._detail, self._certain
        self._forget()
        return buffer.finish(detail, certain)

    def _read_header(self) -> Outcome | None:
        buffer = self.buffer
        data, at = buffer.data, buffer.at
        have = len(data) - at
        if have < HEADER.size:
            return NEED_MORE
        length, number, answers, opcode = HEADER.unpack_from(data, at)
        if not HEADER.size < length <= LONGEST or opcode not in self.opcodes:
            return INVALID
        if have < min(length, _SHAPE):
            return NEED_MORE
        if not self._fits(length, answers, opcode, at + HEADER.size):
            return INVALID
        size, compressor, flags = HEADER.size, None, 0
        if opcode == MSG:
            (flags,) = INT32.unpack_from(data, at + size)
            size += 4
        elif opcode == COMPRESSED:
            opcode, _, compressor = _COMPRESSION.unpack_from(data, at + size)
            size += _COMPRESSION.size
        buffer.skip(size)
        self._header = Header(number, answers, opcode, compressor, flags)
        self._left = length - size
        return None

    def _skip_documents(self) -> Outcome:
        """A section of kind 1 before the command: its documents may be long."""
        buffer = self.buffer
        if len(buffer) < 5:
            return NEED_MORE
        size = 1 + max(4, INT32.unpack_from(buffer.data, buffer.at + 1)[0])
        if size > self._left:
            return INVALID
        buffer.skip(size)
        self._left -= size
        return SKIPPED

    def _look(self, header: Header, data: bytes | bytearray, at: int, end: int, whole: bool) -> tuple[Detail, bool]:
        if isinstance(data, bytearray):
            data, at, end = bytes(data[at:end]), 0, end - at
        if header.compressor is None:
            detail, certain = self._parse(header, data, at, end, whole)
            return detail, certain or whole
        plain = beginning(header.compressor, data[at:end], _AHEAD)
        at = 0
        if header.opcode == MSG:
            header = header._replace(flags=INT32.unpack_from(plain)[0] if len(plain) >= 4 else 0)
            at = 4
        return self._parse(header, plain, at, len(plain), whole and len(plain) < _AHEAD)

    def find(self, at: int) -> int:
        data = self.buffer.data
        for match in self.start.finditer(data, at + _OPCODE_AT):
            if self._begins(match.start() - _OPCODE_AT):
                return match.start() - _OPCODE_AT
        return -1

    def abandon(self) -> Detail | None:
        if self._detail is None and self._header is not None:
            self._take_part()
        detail = self._detail
        self._forget()
        return detail

    def bridge(self, gap: int) -> bool:
        if self._header is None or self._detail is not None:
            return False
        if gap > self._left - len(self.buffer):
            return False
        self._take_part()
        self._left -= gap
        return True

    def _take_part(self) -> None:
        """Make what is known of a message, and consume all of it that is in hand."""
        buffer = self.buffer
        assert self._header is not None, "it was read"
        have = min(len(buffer), self._left)
        self._detail, self._certain = self._look(self._header, buffer.data, buffer.at, buffer.at + have, False)
        buffer.skip(have)
        self._left -= have

    def _forget(self) -> None:
        self._header = self._detail = None
        self._left = 0
        self._certain = True

    def _begins(self, at: int) -> bool:
        """Whether a message certainly begins there."""
        data = self.buffer.data
        if len(data) - at < HEADER.size:
            return False
        length, _, answers, opcode = HEADER.unpack_from(data, at)
        return len(data) - at >= min(length, _SHAPE) and self._fits(length, answers, opcode, at + HEADER.size)

    def _fits(self, length: int, answers: int, opcode: int, at: int) -> bool:
        """Whether what follows a header there is what its opcode says; of short messages all is in hand."""
        data = self.buffer.data
        room = length - HEADER.size
        if opcode not in self.opcodes or not _LEAST[opcode] <= room <= LONGEST:
            return False
        if self.asking and answers not in _NOTHING:
            return False
        match opcode:
            case 2013:  # OP_MSG
                known = not INT32.unpack_from(data, at)[0] & ~_KNOWN_FLAGS & 0xFFFF
                return known and (data[at + 4] == 1 or (data[at + 4] == 0 and self._is_document(at + 5, room - 5)))
            case 2012:  # OP_COMPRESSED
                inner, size, compressor = _COMPRESSION.unpack_from(data, at)
                known = inner in self.opcodes and inner != COMPRESSED
                return known and 0 < size <= LONGEST and 0 <= compressor <= 3
            case 1:  # OP_REPLY
                documents = INT32.unpack_from(data, at + 16)[0]
                known = INT32.unpack_from(data, at)[0] >> 4 == 0
                return known and (documents == 0 or (documents > 0 and self._is_document(at + 20, room - 20)))
            case 2011:  # OP_COMMANDREPLY
                return self._is_document(at, room)
            case 2010:  # OP_COMMAND
                return bool(_DATABASE.match(data, at))
            case 2007:  # OP_KILL_CURSORS
                return bool(room == 8 + 8 * INT32.unpack_from(data, at + 4)[0])
            case _:  # a number and a namespace
                return bool(_NAMESPACE.match(data, at + 4))

    def _is_document(self, at: int, room: int) -> bool:
        data = self.buffer.data
        if len(data) < at + LEAST:
            return False
        return LEAST <= INT32.unpack_from(data, at)[0] <= room and (data[at + 4] in TYPES or data[at + 4] == 0)


class CommandReader(Half[Command]):
    asking = True
    opcodes = REQUESTS
    start = re.compile(rb"[\xd1\xd2\xd4-\xd7\xda\xdc\xdd]\x07\x00\x00")

    def _parse(self, header: Header, data: bytes, at: int, end: int, whole: bool) -> tuple[Command, bool]:
        return command_of(header, data, at, end)


class ReplyReader(Half[Reply]):
    asking = False
    opcodes = RESPONSES
    start = re.compile(rb"(?:[\xdb-\xdd]\x07|\x01\x00)\x00\x00")

    def _parse(self, header: Header, data: bytes, at: int, end: int, whole: bool) -> tuple[Reply, bool]:
        return reply_of(header, data, at, end, whole)
