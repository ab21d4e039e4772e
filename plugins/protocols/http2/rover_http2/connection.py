"""An HTTP/2 connection: streams, which of them were reset or refused, and what an exchange is called."""

from collections.abc import Sequence
from typing import Any

from rover_core.model import Loss
from rover_core.wire import Connection, Direction, Exchange, Limits, Message
from rover_core.wire.http import SERVER_ERROR, operation, operation_class
from rover_http2.messages import GoAway, Request, Reset, Response, ending, upgraded
from rover_http2.pairing import ByStream
from rover_http2.readers import FrameReader

_UNKNOWN = "?"
_MOST_CUT = 64


class Http2Connection(Connection):
    def __init__(self, limits: Limits) -> None:
        self._client = FrameReader(limits, Direction.CLIENT)
        self._server = FrameReader(limits, Direction.SERVER)
        self._streams = ByStream(describe, limits.open)
        self._cut: set[int] = set()  # streams that the server reset before their requests were read
        self._refused: GoAway | None = None
        super().__init__(self._client, self._server, self._streams, limits)

    def take_over(self, agreed: Exchange) -> bool:
        """Of an upgrade: its request is that of stream 1 (RFC 7540 section 3.2)."""
        detail = upgraded(agreed.request.detail) if agreed.request else None
        if agreed.request is None or detail is None:
            return False
        self._streams.request(agreed.request._replace(detail=detail))
        return True

    def feed(self, direction: int, data: bytes, gap: int, timestamp_ns: int, began_ns: int = 0) -> Sequence[Exchange]:
        found = super().feed(direction, data, gap, timestamp_ns, began_ns)
        reader = self.readers[direction]
        if not (self._cut or reader.overflow):  # type: ignore[attr-defined]
            return found
        self._give_way(direction)
        for stream in self._cut & self._client.halves.keys():
            self._cut.discard(stream)
            if request := self._client.take(stream, True):
                self._streams.request(request)
        return [*found, *self._streams.take()]

    def stitch(self, direction: int, message: Message[Any]) -> None:
        detail = message.detail
        match detail:
            case Reset():
                self._reset(direction, message)
            case GoAway():
                if direction == Direction.SERVER:
                    self._go_away(detail)
            case Request():
                self._streams.request(message)
                if self._refused is not None and detail.stream > self._refused.last:
                    self._go_away(self._refused)
            case _:
                self._answer(message)

    def _give_way(self, direction: int) -> None:
        """Report streams for which there was no room any more."""
        reader = self._server if direction else self._client
        for message in reader.overflow:
            (self._streams.response if direction else self._streams.request)(message)
            self._streams.end(message.detail.stream, Loss.OVER_LIMIT)
        reader.overflow.clear()

    def _answer(self, message: Message[Response]) -> None:
        """A response is there. What was lost since its request began may have been of it."""
        stream = message.detail.stream
        asked = self._client.halves.get(stream) or self._streams.known(stream)
        if asked is not None and asked.start_ns <= self._server.doubt_ns:
            message = message._replace(complete=False)
        self._streams.response(message)

    def _reset(self, direction: int, message: Message[Any]) -> None:
        """Both halves of the stream end here, as far as they have not. Who sent it says why in its half."""
        stream, code = message.detail
        if self._streams.is_over(stream):
            return
        by_client = direction == Direction.CLIENT
        request = self._client.take(stream, True, code if by_client else -1, message.end_ns)
        response = self._server.take(stream, True, -1 if by_client else code, message.end_ns)
        if request is not None:
            self._streams.request(request)
        elif by_client and (asked := self._streams.known(stream)):
            self._streams.reset(asked._replace(detail=asked.detail._replace(reset=code)))
        if response is None and not by_client and not self._streams.answered(stream):
            response = message._replace(detail=Response(stream, (), reset=code))
        if response is not None:
            self._answer(response)
        if by_client:
            self._streams.end(stream)
        elif not self._streams.is_over(stream) and len(self._cut) < _MOST_CUT:
            self._cut.add(stream)

    def _go_away(self, detail: GoAway) -> None:
        self._refused = detail
        for stream in [each for each in self._client.halves if each > detail.last]:
            if request := self._client.take(stream, True):
                self._streams.request(request)
        for stream in self._streams.above(detail.last):
            if request := self._streams.known(stream):
                self._streams.reset(
                    request._replace(detail=request.detail._replace(reset=detail.code, gone_away=True))
                )
            self._streams.end(stream)

    def expire(self, before_ns: int) -> Sequence[Exchange]:
        """A stream is given up when nothing of it has passed since then."""
        for direction, reader in ((Direction.CLIENT, self._client), (Direction.SERVER, self._server)):
            other = self.readers[1 - direction]
            for stream in [each for each, half in reader.halves.items() if half.end_ns < before_ns]:
                beyond = other.halves.get(stream)  # type: ignore[attr-defined]
                if beyond is None or beyond.end_ns < before_ns:
                    self._give_up(stream)
        for stream in self._streams.stale(before_ns):
            if not self._goes_on(stream):
                self._streams.end(stream)
        return self._streams.take()

    def close(self) -> Sequence[Exchange]:
        for stream in {*self._client.halves, *self._server.halves}:
            self._give_up(stream)
        return super().close()

    def _goes_on(self, stream: int) -> bool:
        return stream in self._client.halves or stream in self._server.halves

    def _give_up(self, stream: int) -> None:
        for reader, add in ((self._client, self._streams.request), (self._server, self._streams.response)):
            if message := reader.take(stream, False):
                add(message)
        self._streams.end(stream)


def describe(request: Message[Request] | None, response: Message[Response] | None) -> Exchange:
    """An exchange of HTTP/2. gRPC's statuses go by their names, HTTP's are numbers."""
    kind, name = _named(request.detail) if request else ("", "")
    status, error = _status(request.detail if request else None, response.detail if response else None)
    return Exchange(kind, name, status, error, request, response)


def _named(request: Request) -> tuple[str, str]:
    """Operation class and operation; `?` stands for what is not known. Of gRPC the method alone tells anything."""
    method, path = request.method, request.path
    if not method or not path:
        kind = operation_class(method) if method else ""
        shown = operation(method or "GET", path).partition(" ")[2] if path else _UNKNOWN
        return kind, f"{kind or _UNKNOWN} {shown}"
    if request.grpc:
        return operation_class(method), path
    return operation_class(method), operation(method, path)


def _status(request: Request | None, response: Response | None) -> tuple[str, bool]:
    """As the protocol writes it, and whether it is an error. Of a stream without a status the reason why it ended."""
    cut = (request and ending(request)) or (response and ending(response)) or ""
    status = response.status if response else ""
    if response and (rpc := response.grpc_status):
        return rpc, rpc != "OK"
    if cut:
        return status or cut, True
    if response and not status and response.partial:
        return _UNKNOWN, False
    return status, status.isdecimal() and int(status) >= SERVER_ERROR
