"""Messages of RESP (https://redis.io/docs/latest/develop/reference/protocol-spec/): commands and answers.

A message is a tree of elements: a byte that says the kind, a line, and for some kinds as many bytes or elements as
the line says. A command is a list of strings. The reader counts the elements that are to come, whatever their depth,
and keeps neither keys nor values.
"""

import re
from typing import NamedTuple

from rover_core.wire import INVALID, NEED_MORE, SKIPPED, Limits, Message, Outcome, Reader

_END = b"\r\n"
_LONGEST_LINE = 4096  # an error's text; numbers are shorter
_LONGEST_WORD = 32
_STRINGS, _LISTS, _MAPS, _LINES = b"$!=", b"*~>", b"%|", b"+-:_,#("
_NUMBER = re.compile(rb"-1|0|[1-9]\d{0,9}")
_WORD = re.compile(r"[A-Z][A-Z0-9._-]*")
_CODE = re.compile(rb"[A-Z]+")
_COMMAND = re.compile(rb"\*[1-9]\d{0,6}\r\n\$[1-9]\d?\r\n[A-Za-z][A-Za-z0-9._-]+\r\n")
_INLINE = re.compile(rb"(DBSIZE|INFO|PING|QUIT|TIME)(?: [ -~]*)?\r?\n", re.IGNORECASE)
_BEGUN = re.compile(rb"[A-Za-z]{1,6}(?: [ -~]*)?\r?")
_ANSWER = re.compile(
    rb"\+[ -~]+\r\n|-[A-Z]+ [ -~]+\r\n|:-?\d{1,19}\r\n|[$*]-1\r\n|[$=!]\d{1,9}\r\n|_\r\n|#[tf]\r\n"
    rb"|[*~>%|]\d{1,7}\r\n(?:[$=*~%:+,_#(]|\Z)|,[+-]?[\dainf.eE+-]+\r\n|\([+-]?\d+\r\n"
)


class Part(NamedTuple):
    """What is kept of a message.

    kind: the byte it begins with. words: the first two strings of a command, the first of another list, in capitals,
    as far as they are words. size: elements of a list, bytes of a string. code: an error's, `WRONGTYPE`. null: there
    is nothing.
    """

    kind: str
    words: tuple[str, ...] = ()
    size: int = 0
    code: str = ""
    null: bool = False

    @property
    def word(self) -> str:
        return self.words[0] if self.words else ""


_NONE = Part("")


class MessageReader(Reader[Part]):
    """One direction."""

    keep = 64

    def __init__(self, limits: Limits, answers: bool) -> None:
        super().__init__(limits)
        self._answers = answers
        self._part = _NONE
        self._left = 0  # elements to come
        self._wanted = 0  # of them strings whose words are kept

    def read(self) -> Message[Part] | Outcome:
        buffer = self.buffer
        if not self._part.kind:
            if not len(buffer):
                return NEED_MORE
            if not self._answers and buffer.data[buffer.at] != 0x2A:
                return self._line_of_a_person()
            self._left = 1
        while self._left:
            if outcome := self._element():
                return outcome
        part, self._part = self._part, _NONE
        return buffer.finish(part) if part.words or self._answers else SKIPPED

    def find(self, at: int) -> int:
        data = self.buffer.data
        if not self._answers:
            match = _COMMAND.search(data, at)
            return match.start() if match else -1
        newest = max(at, self.buffer.newest)  # elements look like answers, but answers begin calls
        return newest if _ANSWER.match(data, newest) else -1

    def abandon(self) -> Part | None:
        part, self._part = self._part, _NONE
        self._left = self._wanted = 0
        return part if part.words or (part.kind and self._answers) else None

    def _element(self) -> Outcome | None:
        """One element, with the bytes of a string but not the elements of a list. None: go on."""
        buffer = self.buffer
        data, at = buffer.data, buffer.at
        if at == len(data):
            return NEED_MORE
        kind = data[at]
        if not self._fits(kind):
            return INVALID
        end = data.find(_END, at, at + _LONGEST_LINE)
        if end < 0:
            return NEED_MORE if len(data) - at < _LONGEST_LINE else INVALID
        length, count, word = end + len(_END) - at, 0, ""
        line = bytes(data[at + 1 : end])
        if kind not in _LINES:
            if not _NUMBER.fullmatch(line):
                return INVALID
            count = int(line)
            if kind in _STRINGS and count >= 0:
                if self._wanted and count <= _LONGEST_WORD:
                    if len(data) < end + len(_END) + count:
                        return NEED_MORE
                    word = bytes(data[end + len(_END) : end + len(_END) + count]).decode("latin-1").upper()
                length += count + len(_END)
        if not self._part.kind:
            self._begin(kind, line, count)
        elif not self._take(word):
            return INVALID
        self._left += self._inside(kind, count) - 1
        buffer.skip(length)
        return NEED_MORE if buffer.owed else None

    def _fits(self, kind: int) -> bool:
        if self._answers:
            return kind in _LINES or kind in _STRINGS or kind in _LISTS or kind in _MAPS
        return kind == (0x24 if self._part.kind else 0x2A)

    def _begin(self, kind: int, line: bytes, count: int) -> None:
        code = _CODE.match(line) if kind == 0x2D else None
        null = count < 0 or kind == 0x5F
        self._part = Part(chr(kind), (), max(0, count), code[0].decode() if code else "ERR" * (kind in b"-!"), null)
        self._wanted = 0 if kind not in _LISTS else 1 if self._answers else 2

    def _take(self, word: str) -> bool:
        """False if this cannot be a command."""
        if self._wanted:
            self._wanted -= 1
            if _WORD.fullmatch(word):
                self._part = self._part._replace(words=(*self._part.words, word))
            else:
                self._wanted = 0
                return self._answers or bool(self._part.words)
        return True

    @staticmethod
    def _inside(kind: int, count: int) -> int:
        if kind in _LISTS:
            return max(0, count)
        if kind in _MAPS:  # attributes stand before what they are of
            return 2 * max(0, count) + (kind == 0x7C)
        return 0

    def _line_of_a_person(self) -> Message[Part] | Outcome:
        """Commands may be lines, for those who type them (`Inline commands`). Arguments are not told apart."""
        buffer = self.buffer
        match = _INLINE.match(buffer.data, buffer.at)
        if match:
            buffer.skip(match.end() - buffer.at)
            return buffer.finish(Part("*", (match[1].decode().upper(),), 1))
        return NEED_MORE if len(buffer) < _LONGEST_LINE and _BEGUN.fullmatch(buffer.data, buffer.at) else INVALID
