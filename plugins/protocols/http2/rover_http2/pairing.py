"""Which response belongs to which request: those of one stream, in whatever order they come and end."""

from collections import OrderedDict
from typing import Any

from rover_core.model import Loss
from rover_core.wire import Direction, Message, Stitcher
from rover_core.wire.stitching import Describe
from rover_http2.messages import Request

_REMEMBERED = 1024
Pair = list[Message[Any] | None]
"""Request and response."""


class ByStream(Stitcher):
    """Streams of which one half is over and the other is not, and those that were over lately.

    A stream is reported once: what still comes of one that was reset, or was given up, belongs to nothing.
    """

    def __init__(self, describe: Describe, room: int) -> None:
        super().__init__(describe, room)
        self._open: OrderedDict[int, Pair] = OrderedDict()
        self._over: OrderedDict[int, None] = OrderedDict()

    def known(self, stream: int) -> Message[Any] | None:
        """The request of a stream that waits for its response."""
        pair = self._open.get(stream)
        return pair[0] if pair else None

    def answered(self, stream: int) -> bool:
        """Its response is there, or it is over."""
        pair = self._open.get(stream)
        return stream in self._over or (pair is not None and pair[1] is not None)

    def is_over(self, stream: int) -> bool:
        return stream in self._over

    def request(self, message: Message[Any]) -> None:
        self._add(Direction.CLIENT, message)

    def response(self, message: Message[Any]) -> None:
        self._add(Direction.SERVER, message)

    def _add(self, direction: Direction, message: Message[Any]) -> None:
        stream = message.detail.stream
        if stream in self._over:
            return
        pair = self._open.setdefault(stream, [None, None])
        pair[direction] = message
        if pair[1 - direction] is not None:
            self.end(stream)
        elif len(self._open) > self._room:
            self.end(next(iter(self._open)), Loss.OVER_LIMIT)

    def end(self, stream: int, cause: Loss | None = None) -> None:
        """What there is of a stream is all."""
        request, response = self._open.pop(stream, (None, None))
        if request is not None or response is not None:
            self.emit(request, response, cause)
        self._over[stream] = None
        if len(self._over) > _REMEMBERED:
            self._over.popitem(last=False)

    def above(self, last: int) -> list[int]:
        """Open requests of the client's streams with higher numbers."""
        return [each for each, pair in self._open.items() if each > last and each % 2 and pair[0] is not None]

    def stale(self, before_ns: int) -> list[int]:
        """Streams of which the half that is over ended before."""
        return [each for each, pair in self._open.items() if max(half.end_ns for half in pair if half) < before_ns]

    def expire(self, before_ns: int) -> None:
        for stream in self.stale(before_ns):
            self.end(stream)

    def close(self) -> None:
        for stream in list(self._open):
            self.end(stream)

    def reset(self, request: Message[Request]) -> None:
        """A request in another form than it came: with why it ended."""
        if pair := self._open.get(request.detail.stream):
            pair[0] = request
