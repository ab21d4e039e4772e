"""The two directions of an HTTP/1.x connection (RFC 9112)."""

import re
from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, Generic, TypeVar

from rover_core.wire import INVALID, NEED_MORE, SKIPPED, WITHOUT_END, Limits, Message, Outcome, Reader
from rover_core.wire.http import METHODS
from rover_http1.messages import Framing, Length, Request, Response, request_head, response_head

Head = TypeVar("Head", Request, Response)

_CR, _LF = 13, 10
_CHUNK = re.compile(rb"(?:\r?\n)?([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\n]{0,4096})?\r?\n")
_CHUNK_BEGUN = re.compile(rb"\r?\n?(?:[0-9A-Fa-f]{1,15}[ \t]*(?:;[^\n]{0,4096})?\r?)?")
_NO_TRAILER = re.compile(rb"\r?\n")
_LAST_CHUNK = b"\r\n0\r\n\r\n"  # with the end of the one before it
_ONLY_CHUNK = 5  # bytes of the last one when there is none before it
_BODILESS = (204, 304)
_METHODS = "|".join(sorted(METHODS)).encode()
_PREFACE = b"PRI * HTTP/2.0\r\n"


class Half(Reader[Head], Generic[Head]):
    """What both directions do: a head, then a body that is skipped. `_step` comes now, `_next` behind the message."""

    begin: ClassVar["re.Pattern[bytes]"]
    """What the first bytes of a head look like, however few of them there are."""

    start: ClassVar["re.Pattern[bytes]"]
    """What certainly is the beginning of a head, wherever it stands."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.head: Head | None = None
        self._certain = True
        self._step: Callable[[], Message[Head] | Outcome] = self._read_head
        self._next: Callable[[], Message[Head] | Outcome] = self._step

    def read(self) -> Message[Head] | Outcome:
        return self._step()

    def find(self, at: int) -> int:
        match = self.start.search(self.buffer.data, at)
        return match.start() if match else -1

    def abandon(self) -> Head | None:
        head, self.head = self.head, None
        self._step = self._read_head
        return head

    def bridge(self, gap: int) -> bool:
        # The end of a call that was too long to be captured whole: what fits there is the last chunk.
        buffer = self.buffer
        rest = bytes(buffer.data[buffer.at :])
        last = _LAST_CHUNK.startswith(rest) and len(rest) + gap == len(_LAST_CHUNK)
        if self._step != self._read_chunk or not (last or (not rest and gap == _ONLY_CHUNK)):
            return False
        buffer.drop(len(rest))
        self._step = self._finish
        self._certain = False
        return True

    def closed(self) -> bool:
        return self._step == self._finish and self.buffer.endless

    @abstractmethod
    def _parse(self, head: bytes) -> tuple[Head, Framing] | None: ...

    @abstractmethod
    def _begin_body(self, head: Head, body: Framing) -> Message[Head] | Outcome: ...

    def _read_head(self) -> Message[Head] | Outcome:
        buffer = self.buffer
        data, at = buffer.data, buffer.at
        if at == len(data):
            return NEED_MORE
        if data[at] in (_CR, _LF):  # RFC 9112 section 2.2: empty lines before a head
            buffer.drop(1)
            buffer.forget()
            return SKIPPED
        line = data.find(b"\n", at)
        bare = line > at and data[line - 1] != _CR  # lines that end in LF alone
        last = buffer.find(b"\n\n" if bare else b"\n\r\n")
        if last < 0:
            return NEED_MORE if self.begin.match(data, at) else INVALID
        end = last + (2 if bare else 3)
        head = self._parse(bytes(data[at:end]))
        if head is None:
            return INVALID
        buffer.skip(end - at)
        self.head = head[0]
        return self._begin_body(*head)

    def _skip_body(self, length: int | Length) -> Message[Head] | Outcome:
        if length is Length.CHUNKED:
            self._step = self._read_chunk
            return self._read_chunk()
        if not length:
            return self._finish()
        self._step = self._finish
        self.buffer.skip(WITHOUT_END if length is Length.UNSAID else length)
        return NEED_MORE if self.buffer.owed else self._finish()

    def _read_chunk(self) -> Message[Head] | Outcome:
        buffer = self.buffer
        line = _CHUNK.match(buffer.data, buffer.at)
        if line is None:
            return NEED_MORE if _CHUNK_BEGUN.fullmatch(buffer.data, buffer.at) else INVALID
        buffer.drop(line.end() - buffer.at)
        size = int(line[1], 16)
        if not size:
            self._step = self._read_trailer
            return self._read_trailer()
        buffer.skip(size)
        return SKIPPED

    def _read_trailer(self) -> Message[Head] | Outcome:
        buffer = self.buffer
        if line := _NO_TRAILER.match(buffer.data, buffer.at):
            end = line.end()
        elif (end := buffer.find(b"\n\r\n") + 3) == 2:
            return NEED_MORE
        buffer.drop(end - buffer.at)
        return self._finish()

    def _finish(self) -> Message[Head] | Outcome:
        head, self.head = self.head, None
        self._step = self._next
        certain, self._certain = self._certain, True
        assert head is not None, "a body has a head"
        return self.buffer.finish(head, certain)


class RequestReader(Half[Request]):
    """From the client. offer: the request that offers to switch protocols; until it is answered, what follows may not
    be HTTP and waits. switch: called where the client speaks HTTP/2 without asking (RFC 9113 section 3.3).
    """

    keep = 2048
    begin = re.compile(rb"[!#-'*+\-.0-9A-Z^_`|~a-z]{1,64}(?:\Z|[ /])")
    start = re.compile(rb"(?:" + _METHODS + rb") [!-~]+ HTTP/1\.[01]\r?\n")

    def __init__(self, limits: Limits, switch: Callable[[str], None]) -> None:
        super().__init__(limits)
        self.offer: Request | None = None
        self._switch = switch

    def abandon(self) -> Request | None:
        self.offer, self._next = None, self._read_head
        return super().abandon()

    def release(self) -> None:
        """The offer is answered, or will not be: read on."""
        self.offer, self._next = None, self._read_head
        if self._step == self._wait:
            self._step = self._read_head

    def _wait(self) -> Message[Request] | Outcome:
        return NEED_MORE

    def _parse(self, head: bytes) -> tuple[Request, Framing] | None:
        request = request_head(head)
        if request is None and head.startswith(_PREFACE):
            self._switch("h2c")
        return request

    def _begin_body(self, head: Request, body: Framing) -> Message[Request] | Outcome:
        if body.upgrade or head.method == "CONNECT":
            self.offer, self._next = head, self._wait
        return self._skip_body(0 if body.length is Length.UNSAID else body.length)


class ResponseReader(Half[Response]):
    """From the server. question: the request that a response beginning at that time answers, if it is known.

    Whether a body follows depends on the request. Where that has not been seen (yet), the first bytes tell: another
    head instead of a body means that there is none. What follows a 101 is not HTTP.
    """

    begin = re.compile(rb"(?=H)H?T?T?P?/?1?\.?[01]?(?: |\Z)")
    start = re.compile(rb"HTTP/1\.[01] [1-9][0-9]{2}[ \r\n]")

    def __init__(self, limits: Limits, question: Callable[[int], Request | None]) -> None:
        super().__init__(limits)
        self._question = question
        self._body: int | Length = 0

    def _parse(self, head: bytes) -> tuple[Response, Framing] | None:
        return response_head(head)

    def _stop(self) -> Message[Response] | Outcome:
        return NEED_MORE

    def _begin_body(self, head: Response, body: Framing) -> Message[Response] | Outcome:
        if head.status == 101:
            message = self._finish()
            self._step = self._stop
            return message
        if head.status < 200 or head.status in _BODILESS or body.length == 0:
            return self._finish()
        request = self._question(self.buffer.start_ns)
        if request is not None:
            return self._skip_body(0 if _has_no_body(request, head) else body.length)
        self._body = body.length
        self._step = self._guess_body
        return self._guess_body()

    @property
    def guessing(self) -> bool:
        """A head is there, and whether a body follows depends on a request that is not."""
        return self._step == self._guess_body

    def answers(self, request: Message[Request]) -> None:
        """A request has come while the guess is open: the one that was answered, or one that was sent thereafter."""
        head = self.head
        if head is not None and (request.start_ns > self.buffer.start_ns or _has_no_body(request.detail, head)):
            self._body = 0

    def _guess_body(self) -> Message[Response] | Outcome:
        buffer = self.buffer
        first = bytes(buffer.data[buffer.at : buffer.at + 7])
        if self._body == 0 or first == b"HTTP/1.":
            return self._finish()
        if b"HTTP/1.".startswith(first):
            return NEED_MORE
        return self._skip_body(self._body)


def _has_no_body(request: Request, response: Response) -> bool:
    return request.method == "HEAD" or (request.method == "CONNECT" and response.status < 300)
