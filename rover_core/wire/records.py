"""What parsers and stitchers yield: frozen records of messages and exchanges. Times are ns on the clock of `feed`.

Named tuples, since a record is made for every message: they cost a third of what a frozen dataclass does.
"""

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any, Generic, NamedTuple, TypeVar

Detail = TypeVar("Detail")


class Direction(IntEnum):
    """Who sent the bytes. An index: 0 and 1 may be used in its place."""

    CLIENT = 0
    SERVER = 1


class Message(NamedTuple, Generic[Detail]):
    """One message of one direction.

    start_ns, end_ns: when its first and its last byte passed. size: bytes on the wire, those not captured included.
    complete: False where a gap, the end of the connection or a limit cut it: size and end_ns are then what was seen.
    detail: the protocol's own frozen record. content: its first bytes, as many as `Limits.content` asks for, without
    what the protocol frames them with, up to the first gap.
    """

    start_ns: int
    end_ns: int
    size: int
    complete: bool
    detail: Detail
    content: bytes = b""


class Exchange(NamedTuple):
    """A request and its response, or one of them alone.

    operation_class: the operation's kind, out of a handful (`GET`, `SELECT`, `Produce`). operation: what a table is
    drawn by (`GET /users/{}`): names that differ in values alone are one. status: as the protocol writes it (`404`);
    empty without a response. error: as the protocol's users mean it. request_bytes, response_bytes: on the wire.
    """

    operation_class: str
    operation: str
    status: str
    error: bool
    request: Message[Any] | None
    response: Message[Any] | None

    @property
    def start_ns(self) -> int:
        return self.request.start_ns if self.request else self._any.start_ns

    @property
    def end_ns(self) -> int:
        return self.response.end_ns if self.response else self._any.end_ns

    @property
    def duration_ns(self) -> int:
        """From the request's first byte to the response's last, never negative. 0 if one of them is missing."""
        return max(0, self.response.end_ns - self.request.start_ns) if self.request and self.response else 0

    @property
    def request_bytes(self) -> int:
        return self.request.size if self.request else 0

    @property
    def response_bytes(self) -> int:
        return self.response.size if self.response else 0

    @property
    def paired(self) -> bool:
        return self.request is not None and self.response is not None

    @property
    def complete(self) -> bool:
        """Both messages were seen to their ends: durations and sizes are exact, not lower bounds."""
        return bool(self.request and self.response and self.request.complete and self.response.complete)

    @property
    def _any(self) -> Message[Any]:
        message = self.request or self.response
        assert message is not None, "an exchange has one of them at least"
        return message


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may hold.

    buffered: bytes of one direction that wait for the rest of what they begin. open: requests without a response,
    and as many responses without a request. content: bytes of each message to keep for sampling.
    """

    buffered: int = 65_536
    open: int = 1024
    content: int = 0


class CaptureMode(Enum):
    """Which bytes of a connection the kernel ships. What it leaves out reaches `feed` as gaps of known length.

    CALLS: the first bytes of every call; for protocols whose heads begin calls.
    MESSAGES: the first bytes since the direction last turned, over as many calls as they take.
    ALL: everything.
    FRAMES: what the protocol's selector wants of each frame (`rover_core.api.WireProtocol.selector`).
    """

    CALLS = "calls"
    MESSAGES = "messages"
    ALL = "all"
    FRAMES = "frames"


@dataclass(frozen=True, slots=True)
class Capture:
    """A protocol's capture policy. client, server: bytes of that direction's calls or messages, else 0."""

    mode: CaptureMode
    client: int = 0
    server: int = 0
