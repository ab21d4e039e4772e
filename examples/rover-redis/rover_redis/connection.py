"""A connection of Redis: which command an answer belongs to, and what the two are called."""

from typing import Any

from rover_core.wire import Connection, Direction, Exchange, InOrder, Limits, Message
from rover_redis.commands import PUBLICATIONS, REDIRECTIONS, REPLICATING, SUBSCRIBING, operation, operation_class
from rover_redis.readers import MessageReader, Part


class RedisConnection(Connection):
    """Answers come in the order of the commands, but for what comes unasked (RESP3's pushes, publications)."""

    def __init__(self, limits: Limits) -> None:
        self._pairs = InOrder(describe, limits.open)
        self._further = 0  # answers to come to a subscription that has had one
        self._monitors = False
        super().__init__(MessageReader(limits, False), MessageReader(limits, True), self._pairs, limits)

    def stitch(self, direction: int, message: Message[Any]) -> None:
        part: Part = message.detail
        if direction == Direction.CLIENT:
            self._pairs.request(message)
            self._monitors |= part.word == "MONITOR"
            if part.word in REPLICATING:
                self.switched = "replication"
            return
        awaited = self._pairs.awaited(message.start_ns)
        asked = awaited.detail.word if awaited else ""
        if part.word in SUBSCRIBING:
            self._confirm(message, asked, awaited.detail.size - 1 if awaited else 1)
        elif part.kind == ">" or (part.word in PUBLICATIONS and (not asked or asked in SUBSCRIBING)):
            self._pairs.emit(None, message)
        elif asked or not self._monitors:  # what it sees of other connections' commands answers nothing
            self._pairs.response(message)

    def _confirm(self, message: Message[Any], asked: str, channels: int) -> None:
        if self._further:
            self._further -= 1
        elif not asked or asked == message.detail.word:
            self._further = max(0, channels - 1)
            self._pairs.response(message)


def describe(request: Message[Part] | None, response: Message[Part] | None) -> Exchange:
    """An exchange of Redis. Without a request only a publication says what it is."""
    words = request.detail.words if request else response.detail.words if response else ()
    name = words[0] if words and (request or words[0] in PUBLICATIONS) else ""
    code = response.detail.code if response else ""
    return Exchange(
        (name if name in PUBLICATIONS else operation_class(name)) if name else "",
        (name if name in PUBLICATIONS else operation(name, words[1] if len(words) > 1 else "")) if name else "",
        (code or "OK") if response else "",
        bool(code) and code not in REDIRECTIONS,
        request,
        response,
    )
