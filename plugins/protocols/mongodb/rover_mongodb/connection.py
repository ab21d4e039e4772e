"""A MongoDB connection: which command a reply answers, and what the two are called."""

from typing import Any

from rover_core.wire import ById, Connection, Exchange, Limits, Message
from rover_mongodb.commands import canonical, operation
from rover_mongodb.messages import Command, Reply
from rover_mongodb.readers import CommandReader, ReplyReader

_STREAMS = 64
"""Commands whose replies go on without further requests; a connection has one of them at a time."""


class MongoConnection(Connection):
    def __init__(self, limits: Limits) -> None:
        self._pairs = ById(self._pair, limits.open, key=_id)
        self._streams: dict[int, Command] = {}
        super().__init__(CommandReader(limits), ReplyReader(limits), self._pairs, limits)

    def stitch(self, direction: int, message: Message[Any]) -> None:
        detail = message.detail
        if not direction:
            if detail.answered:
                self._pairs.request(message)
            else:
                self._pairs.emit(message, None)
        elif (asked := self._streams.pop(detail.answers, None)) is not None:
            self._goes_on(detail, asked)
            self._pairs.emit(None, message._replace(detail=detail._replace(asked=asked)))
        else:
            self._pairs.response(message)

    def _pair(self, request: Message[Command] | None, response: Message[Reply] | None) -> Exchange:
        if request is not None and response is not None:
            self._goes_on(response.detail, request.detail)
        return describe(request, response)

    def _goes_on(self, reply: Reply, asked: Command) -> None:
        """Each further reply of an exhaust cursor answers the one before it (OP_MSG, exhaustAllowed)."""
        if reply.more:
            self._streams[reply.id] = asked
            if len(self._streams) > _STREAMS:
                del self._streams[next(iter(self._streams))]


def _id(message: Message[Any]) -> int:
    detail = message.detail
    return int(detail.id if isinstance(detail, Command) else detail.answers)


def describe(request: Message[Command] | None, response: Message[Reply] | None) -> Exchange:
    """An exchange of MongoDB. Without a request nothing is known of the operation, but in further replies."""
    reply = response.detail if response else None
    command = request.detail if request else reply.asked if reply else None
    status, error = _status(reply, command) if reply else ("", False)
    named = command is not None and command.command
    return Exchange(
        canonical(command.command) if command and named else "",
        operation(command.command, command.collection) if command and named else "",
        status,
        error,
        request,
        response,
    )


def _status(reply: Reply, command: Command | None) -> tuple[str, bool]:
    """`OK`, the number of the error, or `error` if it has none; and whether it is one."""
    failed = reply.queried if command is not None and command.documents else reply.failed
    return (str(reply.code) if reply.code else "error", True) if failed else ("OK", False)
