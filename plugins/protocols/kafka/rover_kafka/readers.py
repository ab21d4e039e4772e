"""The two directions of a Kafka connection: a length, a header, a body (https://kafka.apache.org/protocol)."""

import re
from collections.abc import Callable
from struct import Struct
from typing import NamedTuple

from rover_core.wire import INVALID, NEED_MORE, Limits, Message, Outcome, Reader
from rover_kafka.plans import APIS, Found, Plan, read

HEAD = 4000
"""Bytes of a message that are looked at. What follows is skipped: records mostly."""

_LARGEST = 1 << 30
"""Brokers refuse requests of more than `socket.request.max.bytes`, 100 MB unless told; answers are no larger."""

_REQUEST = Struct("!ihhih")  # size, API key, version, correlation id, length of the client's id
_RESPONSE = Struct("!ii")  # size, correlation id
_SIZE = 4
_FIXED = _REQUEST.size - _SIZE
_UNKNOWN_KEYS, _UNKNOWN_VERSIONS = 256, 32
_PRINTABLE = re.compile(rb"[ -~]+")
_START = re.compile(rb"(?=[\0-\x3f][\0-\xff]{3}\0[\0-\x5c]\0[\0-\x12][\0-\x7f][\0-\xff]{3}\0[\x01-\xff][ -~])")


class Request(NamedTuple):
    """key, version: of the API. found: what the body says. plan: of the response's."""

    key: int
    version: int
    correlation: int
    client: str
    found: Found
    plan: Plan


class Response(NamedTuple):
    """head: the bytes behind the correlation id, the first HEAD of them at most. cut: a gap ended them."""

    correlation: int
    head: bytes
    cut: bool


class RequestReader(Reader[Request]):
    keep = _REQUEST.size + 1

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._request: Request | None = None
        self._complete = True
        self._left = 0
        self._certain = False

    def read(self) -> Message[Request] | Outcome:
        buffer = self.buffer
        if self._request is None:
            data, at = buffer.data, buffer.at
            have = len(data) - at
            if have < _REQUEST.size:
                return NEED_MORE if not have or _begins(data, at, have) else INVALID
            size = self._checked(data, at, have)
            if not size:
                return INVALID
            if have - _SIZE < size and have - _SIZE < HEAD:
                return NEED_MORE
            self._begin(data, at, size, min(have, HEAD + _SIZE), False)
        if self._left:
            left, self._left = self._left, 0
            buffer.skip(left)
            if buffer.owed:
                return NEED_MORE
        return self._finish()

    def find(self, at: int) -> int:
        data = self.buffer.data
        for match in _START.finditer(data, at):
            start = match.start()
            if certain(data, start, len(data) - start):
                return start
        return -1

    def abandon(self) -> Request | None:
        request, self._request = self._request, None
        self._certain = False
        self._left = 0
        return request

    def bridge(self, gap: int) -> bool:
        buffer = self.buffer
        data, at = buffer.data, buffer.at
        have = len(data) - at
        if self._request is not None or have < _REQUEST.size:
            return False
        size = self._checked(data, at, have)
        if have + gap > size + _SIZE or have < _REQUEST.size + max(0, _REQUEST.unpack_from(data, at)[4]):
            return False
        self._begin(data, at, size, have, True)
        buffer.skip(have)
        self._left -= have + gap
        return True

    def _checked(self, data: bytes | bytearray, at: int, have: int) -> int:
        """The size that a header says, 0 if it cannot be one."""
        size, key, version, correlation, client = _REQUEST.unpack_from(data, at)
        if not _FIXED <= size <= _LARGEST or correlation < 0 or not -1 <= client <= size - _FIXED:
            return 0
        if not (0 <= key < _UNKNOWN_KEYS and 0 <= version < _UNKNOWN_VERSIONS):
            return 0
        if not self._certain and not certain(data, at, have):
            return 0
        return int(size)

    def _begin(self, data: bytes | bytearray, at: int, size: int, head: int, cut: bool) -> None:
        _, key, version, correlation, length = _REQUEST.unpack_from(data, at)
        body = _REQUEST.size + max(0, length)
        client = bytes(data[at + _REQUEST.size : at + body]).decode("utf-8", "replace")
        api = APIS.get(key)
        asked, answered = api.plans(version) if api else ((), ())
        found = read(asked, bytes(data[at : at + min(head, size + _SIZE)]), body)
        self._request = Request(key, version, correlation, client, found, answered)
        self._complete = not (cut and found.partial)
        self._left = size + _SIZE
        self._certain = True

    def _finish(self) -> Message[Request]:
        request, self._request = self._request, None
        assert request is not None, "something was begun"
        return self.buffer.finish(request, self._complete)


def _begins(data: bytes | bytearray, at: int, have: int) -> bool:
    """Whether so few bytes may be a request's first."""
    return data[at] < 0x40 and (have < 5 or data[at + 4] == 0) and (have < 7 or data[at + 6] == 0)


def certain(data: bytes | bytearray, at: int, have: int) -> bool:
    """Whether a request begins here, wherever that is: an API and a version that exist, and a client's id as text."""
    if have < _REQUEST.size:
        return False
    size, key, version, correlation, length = _REQUEST.unpack_from(data, at)
    api = APIS.get(key)
    if api is None or version not in api.versions or correlation < 0 or not _FIXED <= size <= _LARGEST:
        return False
    if length == -1:
        return bool(size + _SIZE == have)
    if not 0 < length <= size - _FIXED:
        return False
    start = at + _REQUEST.size
    text = data[start : start + min(length, have - _REQUEST.size)]
    return not text or _PRINTABLE.fullmatch(text) is not None


class ResponseReader(Reader[Response]):
    """awaited: whether a request with that correlation id has no answer yet."""

    keep = _RESPONSE.size

    def __init__(self, limits: Limits, awaited: Callable[[int], object]) -> None:
        super().__init__(limits)
        self._awaited = awaited
        self._response: Response | None = None
        self._left = 0
        self._certain = False

    def read(self) -> Message[Response] | Outcome:
        buffer = self.buffer
        if self._response is None:
            data, at = buffer.data, buffer.at
            have = len(data) - at
            if have < _RESPONSE.size:
                return NEED_MORE if not have or data[at] < 0x40 else INVALID
            size, correlation = _RESPONSE.unpack_from(data, at)
            if not _SIZE <= size <= _LARGEST or not self._is_sure(size, correlation, have):
                return INVALID
            if have - _SIZE < size and have - _RESPONSE.size < HEAD:
                return NEED_MORE
            self._begin(min(size + _SIZE, have, HEAD + _RESPONSE.size), False)
        if self._left:
            left, self._left = self._left, 0
            buffer.skip(left)
            if buffer.owed:
                return NEED_MORE
        return self._finish()

    def find(self, at: int) -> int:
        """Answers begin calls, and a call may begin with their length alone."""
        buffer = self.buffer
        for start in (buffer.newest - _SIZE, buffer.newest):
            if start >= at and len(buffer.data) - start >= _RESPONSE.size:
                size, correlation = _RESPONSE.unpack_from(buffer.data, start)
                if _SIZE <= size <= _LARGEST and self._awaited(correlation) is not None:
                    return start
        return -1

    def abandon(self) -> Response | None:
        response, self._response = self._response, None
        self._certain = False
        self._left = 0
        return response

    def bridge(self, gap: int) -> bool:
        buffer = self.buffer
        have = len(buffer)
        if self._response is not None or have < _RESPONSE.size:
            return False
        size, _ = _RESPONSE.unpack_from(buffer.data, buffer.at)
        if have + gap > size + _SIZE:
            return False
        self._begin(have, True)
        buffer.skip(have)
        self._left -= have + gap
        return True

    def _is_sure(self, size: int, correlation: int, have: int) -> bool:
        return self._certain or self._awaited(correlation) is not None or size + _SIZE == have

    def _begin(self, head: int, cut: bool) -> None:
        buffer = self.buffer
        size, correlation = _RESPONSE.unpack_from(buffer.data, buffer.at)
        body = bytes(buffer.data[buffer.at + _RESPONSE.size : buffer.at + head])
        self._response = Response(correlation, body, cut)
        self._left = size + _SIZE
        self._certain = True

    def _finish(self) -> Message[Response]:
        response, self._response = self._response, None
        assert response is not None, "something was begun"
        return self.buffer.finish(response)
