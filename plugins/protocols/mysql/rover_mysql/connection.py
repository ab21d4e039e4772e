"""A MySQL connection: commands and answers in order, and what the two are called."""

from collections.abc import Iterator, Sequence
from typing import Any

from rover_core.wire import Connection, Direction, Exchange, InOrder, Limits, Message
from rover_mysql import packets
from rover_mysql.answers import AnswerReader
from rover_mysql.digest import summary
from rover_mysql.packets import COMMANDS, Answer, Command, Session
from rover_mysql.readers import CommandReader

_SILENT = (packets.QUIT, packets.CLOSE, packets.SEND_LONG_DATA)
_PREPARED = (packets.EXECUTE, packets.BULK_EXECUTE, packets.FETCH)
_UNKNOWN = frozenset(COMMANDS[kind] for kind in _PREPARED)
_STATEMENTS = 1024
_NEWEST = 0xFFFFFFFF


class MysqlConnection(Connection):
    """Nothing of a message's content is kept: statements, rows and logins hold what is nobody's business."""

    def __init__(self, limits: Limits) -> None:
        limits = Limits(limits.buffered, limits.open)
        self._session = Session()
        self._pairs = InOrder(self._pair, limits.open)
        self._client = CommandReader(limits, self._session, self._leave)
        self._server = AnswerReader(limits, self._session, self._asked)
        self._statements: dict[int, tuple[str, str]] = {}  # class and digest
        super().__init__(self._client, self._server, self._pairs, limits)

    def feed(self, direction: int, data: bytes, gap: int, timestamp_ns: int, began_ns: int = 0) -> Sequence[Exchange]:
        if direction and self._client.blind and (command := self._client.turn()):
            self.stitch(Direction.CLIENT, command)
        found = super().feed(direction, data, gap, timestamp_ns, began_ns)
        reader = self._server if direction else self._client
        return [*found, *self._read_on(direction, reader)] if reader.left else found

    def _read_on(self, direction: int, reader: CommandReader | AnswerReader) -> Iterator[Exchange]:
        """Several messages in one compressed packet."""
        before = reader.left + 1
        while 0 < reader.left < before:
            before = reader.left
            self.resume(direction)
            yield from self._pairs.take()

    def stitch(self, direction: int, message: Message[Any]) -> None:
        if direction == Direction.SERVER:
            self._answered(message)
            return
        kind = message.detail.kind
        if kind in (packets.TLS, packets.CONTINUATION):
            return
        if message.start_ns > self._server.buffer.start_ns:
            self._wait_no_longer()  # what it waited for will not come
        else:
            self._end_blind()
        self._session.sent += 1
        if kind in _SILENT:
            self._pairs.emit(message, None)
            if kind == packets.CLOSE:
                self._statements.pop(message.detail.statement, None)
            return
        self._pairs.request(message)
        if self._server.waiting:
            self.resume(Direction.SERVER)

    def _leave(self) -> None:
        self.switched = "tls"

    def close(self) -> Sequence[Exchange]:
        self._wait_no_longer()
        return super().close()

    def expire(self, before_ns: int) -> Sequence[Exchange]:
        if self._server.buffer.end_ns < before_ns:
            self._wait_no_longer()
        return super().expire(before_ns)

    def _wait_no_longer(self) -> None:
        self._end_blind()
        if self._server.waiting or not self._server.certain:
            self._server.patient = False
            self.resume(Direction.SERVER)
            self._server.patient = True

    def _end_blind(self) -> None:
        if answer := self._server.turn():
            self.stitch(Direction.SERVER, answer)

    def _asked(self, start_ns: int) -> Command | None:
        message = self._pairs.awaited(start_ns)
        return message.detail if message else None

    def _answered(self, message: Message[Answer]) -> None:
        answer = message.detail
        if answer.kind == "refused":
            self._pairs.emit(None, message)
        elif answer.final:
            self._pairs.response(message)

    def _pair(self, request: Message[Command] | None, response: Message[Answer] | None) -> Exchange:
        command, answer = request and request.detail, response and response.detail
        if command and answer:
            if command.kind == packets.LOGIN and answer.kind == "ok":
                self._session.compressed = bool(self._session.flags & (packets.COMPRESS | packets.ZSTD))
            if command.kind == packets.PREPARE and answer.kind == "prepared":
                self._remember(answer.statement, _statement(command) if request and request.complete else ("", ""))
        name, operation = self._named(command) if command else ("", "")
        if request and operation in _UNKNOWN and (self.losses or request.detail.statement in self._statements):
            request = request._replace(complete=False)  # its statement is among what is lost
        return Exchange(name, operation, status(answer), bool(answer and answer.code), request, response)

    def _remember(self, statement: int, text: tuple[str, str]) -> None:
        known = self._statements
        if len(known) >= _STATEMENTS:
            del known[next(iter(known))]
        known[statement] = known[_NEWEST] = text

    def _named(self, command: Command) -> tuple[str, str]:
        """Operation class and operation. A prepared statement's are those of its text."""
        kind = command.kind
        name = COMMANDS[kind]
        if kind == packets.QUERY:
            said = _statement(command)
            return said if said[1] else (name, name)
        if kind == packets.PREPARE:
            return name, f"{name} {_statement(command)[1]}"
        known = self._statements.get(command.statement) if kind in _PREPARED else None
        if not known or not known[1]:
            return name, name
        return known if kind != packets.FETCH else (name, f"{name} {known[1]}")


def _statement(command: Command) -> tuple[str, str]:
    return summary(command.text, command.backslashes)


def status(answer: Answer | None) -> str:
    """`OK`, or an error as clients print it: `1146 (42S02)`."""
    if answer is None:
        return ""
    if answer.code:
        return f"{answer.code} ({answer.sqlstate})" if answer.sqlstate else str(answer.code)
    return "OK"


def rows(exchange: Exchange) -> int | None:
    """Rows that the server sent."""
    answer = exchange.response and exchange.response.detail
    return answer.rows if answer and answer.sets and exchange.complete else None


def affected_rows(exchange: Exchange) -> int | None:
    """Rows that a statement changed."""
    answer = exchange.response and exchange.response.detail
    return answer.affected if answer and answer.kind == "ok" and exchange.complete else None
