"""An HTTP/1.x connection: requests and responses in order, until both sides agree on another protocol."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from rover_core.wire import Connection, Direction, Exchange, InOrder, Limits, Message
from rover_core.wire.http import SERVER_ERROR, operation, operation_class
from rover_http1.messages import Request, Response, framing
from rover_http1.readers import RequestReader, ResponseReader


class Http1Connection(Connection):
    def __init__(self, limits: Limits) -> None:
        self._client = RequestReader(limits, self._switch)
        self._server = ResponseReader(limits, self._question)
        self._pairs = InOrder(self._pair, limits.open)
        super().__init__(self._client, self._server, self._pairs, limits)

    def stitch(self, direction: int, message: Message[Any]) -> None:
        waited = self._client.offer is not None
        if not direction:
            if self._server.head is not None and self._server.guessing:
                self._server.answers(message)
                self.resume(Direction.SERVER)
            self._pairs.request(message)
        elif not message.detail.interim:
            self._pairs.response(message)
        if waited:
            self._go_on()

    def lost(self, direction: int, answering: bool) -> None:
        super().lost(direction, answering)
        if direction == Direction.SERVER and not answering:
            self._client.release()
            self.resume(Direction.CLIENT)

    def expire(self, before_ns: int) -> Sequence[Exchange]:
        expired = super().expire(before_ns)
        self._go_on()
        return [*expired, *self._pairs.take()]

    def _go_on(self) -> None:
        """Read what the client sent behind an offer, once that is answered."""
        if self._client.offer is None:
            self.resume(Direction.CLIENT)

    def _switch(self, protocol: str) -> None:
        self.switched = protocol

    def _question(self, start_ns: int) -> Request | None:
        """The request that a response which begins then answers. It may still be on its way, as its body is."""
        if message := self._pairs.awaited(start_ns):
            return message.detail  # type: ignore[no-any-return]
        client = self._client
        return client.head if client.buffer.start_ns <= start_ns else None

    def _pair(self, request: Message[Request] | None, response: Message[Response] | None) -> Exchange:
        offer = self._client.offer
        if offer is not None and (request is None or request.detail is offer):
            self._client.release()
            if response is not None:
                self.switched = _agreed(offer, response.detail)
        exchange = describe(request, response)
        if self.switched == "h2c":
            self.agreed = exchange  # the answer comes in HTTP/2
        return exchange


def _agreed(offer: Request, answer: Response) -> str:
    """The protocol that the connection goes on with, empty if it stays with this one."""
    if answer.status == 101:
        headers = framing(answer.head)
        return headers.upgrade.lower() if headers else ""
    return "connect" if offer.method == "CONNECT" and 200 <= answer.status < 300 else ""


@lru_cache(maxsize=1024)
def _named(method: str, target: str) -> tuple[str, str]:
    """The operation's class, and its name."""
    return operation_class(method), operation(method, target.partition("?")[0])


def describe(request: Message[Request] | None, response: Message[Response] | None) -> Exchange:
    """An exchange of HTTP/1.x. Without a request nothing is known of the operation."""
    status = response.detail.status if response else 0
    kind, name = _named(request.detail.method, request.detail.target) if request else ("", "")
    return Exchange(
        kind,
        name,
        str(status) if status else "",
        status >= SERVER_ERROR,
        request,
        response,
    )
