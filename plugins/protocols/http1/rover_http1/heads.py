"""Heads of HTTP/1.x messages: the first line, and the few headers that say where the message ends (RFC 9112)."""

import re
from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from rover_core.wire import TRACE_HEADERS, TraceContext, trace_context
from rover_core.wire.http import METHODS

_TOKEN = re.compile(rb"[!#-'*+\-.0-9A-Z^_`|~a-z]{1,64}")
_PRINTABLE = re.compile(rb"(?!HTTP/)[A-Z][ -~]*")
_METHODS = {method.encode(): method for method in METHODS}
_CUT_METHODS = frozenset(method[at:].encode() for method in METHODS for at in range(1, len(method))) - {b"LOCK"}
_AFTER_BODY = re.compile(rb".*[^A-Z_-][A-Z_-]*(?:" + "|".join(METHODS).encode() + rb")", re.DOTALL)
# A value goes on in lines that begin with white space (obs-fold, RFC 9112 section 5.2).
_VALUE = r"[ \t]*:([^\r\n]*(?:\r?\n[ \t]+[^\r\n]*)*)"
_FRAMING = re.compile(rb"\n(content-length|transfer-encoding|upgrade)" + _VALUE.encode(), re.IGNORECASE)
_HEADER = re.compile(r"\n([^\s:]+)" + _VALUE)
_FOLD = re.compile(r"\r?\n[ \t]+")
_TRACE = re.compile(rb"\n(" + "|".join(TRACE_HEADERS).encode() + rb")" + _VALUE.encode(), re.IGNORECASE)
_VERSIONS = {b"HTTP/1.1": "1.1", b"HTTP/1.0": "1.0"}
_LONGEST_LENGTH = 19  # digits of 2^63; a longer number is nobody's length


class Request(NamedTuple):
    """target: as sent: `/path?query`, `http://host/path`, `host:port` or `*`. version: `1.1`; empty if not said.

    head: first line and headers, raw.
    """

    method: str
    target: str
    version: str
    head: bytes

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


class Response(NamedTuple):
    """status: 100..999. head: first line and headers, raw."""

    status: int
    version: str
    head: bytes

    @property
    def reason(self) -> str:
        line = self.head.partition(b"\n")[0].rstrip(b"\r")
        return line[13:].decode("latin-1")

    @property
    def interim(self) -> bool:
        """Another response to the same request follows (RFC 9110 section 15.2)."""
        return 100 <= self.status < 200 and self.status != 101


class Length(Enum):
    """Where a body ends, if no number of bytes says so (RFC 9112 section 6.3)."""

    CHUNKED = 1
    UNSAID = 2


class Framing(NamedTuple):
    """length: of the body in bytes, or what says where it ends. upgrade: the protocols offered or agreed on."""

    length: int | Length
    upgrade: str


_UNSAID = Framing(Length.UNSAID, "")


def parse_request(head: bytes) -> Request | None:
    """None if this is no request head. Methods that nobody has registered are methods all the same.

    Except for `ET` and the like, the rest of a head whose beginning was not captured, and `}GET` and the like, a head
    behind the rest of such a body.
    """
    line = head[: head.find(b"\n")].rstrip(b"\r")
    parts = line.split(b" ")
    method = _METHODS.get(parts[0]) or _unknown_method(parts[0])
    if method and len(parts) == 3 and parts[1] and (version := _VERSIONS.get(parts[2])):
        return Request(method, parts[1].decode("latin-1"), version, head)
    return _parse_odd_line(line, head)


def _unknown_method(method: bytes) -> str:
    """Empty if it cannot be one."""
    if method in _CUT_METHODS or _AFTER_BODY.fullmatch(method) or not _TOKEN.fullmatch(method):
        return ""
    return method.decode()


def _parse_odd_line(line: bytes, head: bytes) -> Request | None:
    """Lines that servers answer, if with 400: `GET/ HTTP/1.1`, `GET /a b HTTP/1.1`, `GET  / HTTP/1.1`, `GET / HTTP/1.`, `GET /`."""
    method, *rest = line.split(b" ")
    if (
        not _PRINTABLE.fullmatch(line)
        or method in _CUT_METHODS
        or (method.decode() not in METHODS and b"HTTP/1" not in line)
    ):
        return None
    version = rest.pop()[len("HTTP/") :] if len(rest) > 1 and rest[-1].startswith(b"HTTP/1") else b""
    return Request(method.decode(), b" ".join(rest).strip().decode(), version.decode(), head)


def parse_response(head: bytes) -> Response | None:
    """None if this is no response head."""
    version = _VERSIONS.get(head[:8])
    status = head[9:12]
    if version is None or head[8:9] != b" " or not status.isdigit() or status < b"100" or head[12] not in b" \r\n":
        return None
    return Response(int(status), version, head)


def framing(head: bytes) -> Framing | None:
    """What the headers say of the body; None where they contradict the grammar. Transfer-Encoding wins."""
    found = _FRAMING.findall(head)
    if not found:
        return _UNSAID
    length: int | Length = Length.UNSAID
    upgrade = ""
    for name, value in found:
        match len(name):
            case 14:  # content-length, which some repeat: `5, 5`
                number = value.split(b",")[0].strip()
                if not number.isdigit() or len(number) > _LONGEST_LENGTH:
                    return None
                if length is Length.UNSAID:
                    length = int(number)
            case 17:  # transfer-encoding: chunked is the last coding if it is one of them
                if value.rstrip().lower().endswith(b"chunked"):
                    length = Length.CHUNKED
            case _:
                upgrade = value.strip().decode("latin-1")
    return Framing(length, upgrade)


# The busier a server is, the more often the same head comes within a second.
@lru_cache(maxsize=256)
def request_head(head: bytes) -> tuple[Request, Framing] | None:
    """What a head says, None if it is none of a request."""
    request = parse_request(head)
    body = framing(head) if request else None
    return (request, body) if request and body else None


@lru_cache(maxsize=256)
def response_head(head: bytes) -> tuple[Response, Framing] | None:
    """What a head says, None if it is none of a response."""
    response = parse_response(head)
    body = framing(head) if response else None
    return (response, body) if response and body else None


def headers(head: bytes) -> Iterator[tuple[str, str]]:
    """Names in lower case and values, in their order."""
    for name, value in _HEADER.findall(head.decode("latin-1")):
        yield name.lower(), _FOLD.sub(" ", value).strip()


def trace_of(request: Request) -> TraceContext | None:
    """The trace context that a request carries."""
    found = _TRACE.findall(request.head)
    if not found:
        return None
    return trace_context(
        {name.lower().decode(): _FOLD.sub(" ", value.decode("latin-1")).strip() for name, value in found}
    )
