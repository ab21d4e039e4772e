"""What is known of a stream's request and response."""

from collections.abc import Sequence
from typing import NamedTuple

from rover_core.wire import TRACE_HEADERS, TraceContext, trace_context
from rover_http2.frames import error_name
from rover_http2.hpack import UNKNOWN, Field

_GRPC = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)
NEEDED = frozenset(
    (*TRACE_HEADERS, ":method", ":path", ":status", "content-type", "content-encoding", "grpc-status", UNKNOWN)
)
"""Names of the fields that are looked at while nothing is sampled."""
_LONGEST = 2048  # characters of a value that is kept, and of all values of a message that is not sampled
_MOST_KEPT = 32


class Request(NamedTuple):
    """fields: in their order; without sampling those that are needed alone. partial: some of them are not known.

    trailers: what followed the body. reset: why the stream ended, if the client ended it, or the connection did; else
    -1. pushed: it was the server that promised the answer.
    """

    stream: int
    fields: Sequence[Field]
    partial: bool = False
    trailers: Sequence[Field] = ()
    reset: int = -1
    pushed: bool = False
    gone_away: bool = False

    @property
    def method(self) -> str:
        return value_of(self.fields, ":method")

    @property
    def target(self) -> str:
        return value_of(self.fields, ":path")

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def grpc(self) -> bool:
        return value_of(self.fields, "content-type").startswith("application/grpc")


class Response(NamedTuple):
    """fields: of the final response; none if the stream ended without one. See Request."""

    stream: int
    fields: Sequence[Field]
    partial: bool = False
    trailers: Sequence[Field] = ()
    reset: int = -1

    @property
    def status(self) -> str:
        return value_of(self.fields, ":status")

    @property
    def grpc_status(self) -> str:
        """By name; empty where there is none."""
        code = value_of(self.trailers, "grpc-status") or value_of(self.fields, "grpc-status")
        if code.isdecimal() and len(code) < 3 and int(code) < len(_GRPC):
            return _GRPC[int(code)]
        return code


class Reset(NamedTuple):
    """RST_STREAM."""

    stream: int
    code: int


class GoAway(NamedTuple):
    """GOAWAY: streams above `last` were not looked at."""

    last: int
    code: int


def value_of(fields: Sequence[Field], name: str) -> str:
    """Empty where there is none, or it is not known."""
    for each, value in fields:
        if each == name:
            return value if value is not UNKNOWN else ""
    return ""


def shortened(fields: list[Field]) -> list[Field]:
    """What is kept of fields while nothing is sampled."""
    return [(name, value[:_LONGEST]) for name, value in fields[:_MOST_KEPT]]


def guessed(fields: list[Field]) -> list[Field]:
    """With names where they are lost and can be told from the value: a path's, a status's that stands first."""
    if any(name in (":path", ":status") for name, _ in fields):
        return fields
    for at, (name, value) in enumerate(fields):
        if name == UNKNOWN and value.startswith("/"):
            return [*fields[:at], (":path", value), *fields[at + 1 :]]
    name, value = fields[0]
    if name == UNKNOWN and len(value) == 3 and value.isdecimal():
        return [(":status", value), *fields[1:]]
    return fields


def bounded(fields: list[Field], size: int) -> list[Field]:
    """The first fields, of that many characters together."""
    found = []
    for field in fields:
        size -= len(field[0]) + len(field[1])
        if size < 0:
            break
        found.append(field)
    return found


def upgraded(request: object) -> Request | None:
    """The request of HTTP/1.1 that asked for this protocol, whose `head` has its first line and headers."""
    head = getattr(request, "head", None)
    if not isinstance(head, bytes):
        return None
    first, *lines = head.decode("latin-1").splitlines()
    method, _, rest = first.partition(" ")
    pairs = [line.partition(":")[::2] for line in lines if ":" in line]
    fields = [(name.strip().lower(), value.strip()) for name, value in pairs]
    return Request(1, [(":method", method), (":path", rest.rpartition(" ")[0]), *fields])


def trace_of(request: Request) -> TraceContext | None:
    """The trace context that a request carries."""
    headers = {name: value for name, value in request.fields if name in TRACE_HEADERS}
    return trace_context(headers) if headers else None


def ending(detail: Request | Response) -> str:
    """Why a stream ended before its time: `CANCEL`; empty if it did not, or in peace."""
    if isinstance(detail, Request) and detail.gone_away:
        return "GOAWAY"
    return error_name(detail.reset) if detail.reset > 0 else ""
