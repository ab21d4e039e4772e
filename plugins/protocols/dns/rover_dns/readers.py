"""Messages on a TCP connection: each behind its length (RFC 1035 section 4.2.2)."""

import re
import struct

from rover_core.wire import INVALID, NEED_MORE, Limits, Message, Outcome, Reader
from rover_dns.messages import BROKEN, HEAD, RESPONSE, Dns, parse, plausible, read_question
from rover_dns.numbers import TYPES

_LENGTH = 2
_FRONT = struct.Struct("!4H")  # length, id, flags, number of questions
_LEAST = HEAD.size + 5  # the root's name, type and class
_QUERY = re.compile(rb"[\x00-\x07\x20-\x2f][\x00-\x3f]\x00\x01")
_ANSWER = re.compile(rb"[\x80-\x87\xa0-\xaf][\x00-\x3f\x80-\xbf]\x00\x01")
"""Flags and one question: queries, notifications and updates."""


class MessageReader(Reader[Dns]):
    """One direction. What is behind the questions says little: a gap in it does not cost the message."""

    keep = _LENGTH + HEAD.size + 255 + 4

    def __init__(self, limits: Limits, responses: bool) -> None:
        super().__init__(limits)
        self._responses = responses
        self._cut: Dns | None = None
        self._rest = 0

    def read(self) -> Message[Dns] | Outcome:
        if self._cut is not None:
            return self._finish_cut(self._cut)
        buffer = self.buffer
        data, at = buffer.data, buffer.at
        have = len(data) - at
        if have < _FRONT.size:
            return NEED_MORE
        length, _, flags, questions = _FRONT.unpack_from(data, at)
        if length < HEAD.size or not plausible(flags, questions, self._responses):
            return INVALID
        if have < _LENGTH + length:
            start = at + _LENGTH
            broken = questions and read_question(data, start + HEAD.size, start, len(data))[1] == BROKEN
            return INVALID if broken else NEED_MORE
        detail = parse(data, at + _LENGTH, at + _LENGTH + length)
        if detail is None:
            return INVALID
        buffer.drop(_LENGTH)
        buffer.skip(length)
        return buffer.finish(detail)

    def find(self, at: int) -> int:
        data = self.buffer.data
        pattern = _ANSWER if self._responses else _QUERY
        for match in pattern.finditer(data, at + 4):
            if self._begins(match.start() - 4):
                return match.start() - 4
        return -1

    def abandon(self) -> Dns | None:
        if self._cut is None:
            self._take_part()
        detail, self._cut = self._cut, None
        self._rest = 0
        return detail

    def bridge(self, gap: int) -> bool:
        self._take_part()
        if self._cut is None or gap > self._rest:
            return False
        self._rest -= gap
        return True

    def _take_part(self) -> None:
        """Consume what is in hand of a message, if that holds its questions; `_rest` bytes of it are not."""
        buffer = self.buffer
        data, at = buffer.data, buffer.at
        have = len(data) - at
        if self._cut is None and have > _LENGTH + HEAD.size:
            cut = parse(data, at + _LENGTH, len(data), whole=False)
            if cut is not None and (cut.flags >= RESPONSE) == self._responses:
                self._cut = cut
                self._rest = max(0, _LENGTH + (data[at] << 8 | data[at + 1]) - have)
                buffer.drop(_LENGTH)
                buffer.skip(have - _LENGTH)

    def _finish_cut(self, cut: Dns) -> Message[Dns] | Outcome:
        rest, self._rest = self._rest, 0
        if rest:
            self.buffer.skip(rest)
            if self.buffer.owed:
                return NEED_MORE
        self._cut = None
        return self.buffer.finish(cut, cut.certain)

    def _begins(self, at: int) -> bool:
        """Whether a message with one question of a known type certainly begins there."""
        data = self.buffer.data
        start = at + _LENGTH
        question, behind = read_question(data, start + HEAD.size, start, len(data))
        length = data[at] << 8 | data[at + 1]
        return question is not None and question.type in TYPES and max(_LEAST, behind - start) <= length
