"""A CQL connection: requests and responses by their streams, and what the two are called."""

from dataclasses import replace
from typing import Any

from rover_core.wire import ById, Connection, Exchange, Limits, Message
from rover_cql.digest import statement_class
from rover_cql.messages import (
    BATCH,
    ERROR,
    ERRORS,
    EVENT,
    EXECUTE,
    NAMES,
    PREPARE,
    PREPARED,
    QUERY,
    Request,
    Response,
)
from rover_cql.readers import RequestReader, ResponseReader

UNKNOWN = "(unknown statement)"
"""Of an id that was prepared where nobody looked."""

_KNOWN_IDS = 2048
_SHOWN = 2

_statements: dict[bytes, str] = {}
"""Statements by the ids that servers gave them: hashes of their text, so what one connection says is for all."""


class CqlConnection(Connection):
    """Nothing of a message's content is kept: it holds values, and tokens of logins."""

    def __init__(self, limits: Limits) -> None:
        limits = replace(limits, content=0)
        pairs = ById(self._pair, limits.open, key=_stream)
        client, server = RequestReader(limits, pairs.losses), ResponseReader(limits, pairs.losses)
        super().__init__(client, server, pairs, limits)

    def stitch(self, direction: int, message: Message[Any]) -> None:
        if direction and message.detail.opcode == EVENT:
            self.stitcher.emit(None, message)
        else:
            super().stitch(direction, message)

    def _pair(self, request: Message[Request] | None, response: Message[Response] | None) -> Exchange:
        if request and response and request.complete and response.detail.kind == PREPARED:
            _remember(response.detail.prepared, request.detail)
        name, operation = _named(request.detail) if request else _event(response.detail) if response else ("", "")
        if request and self.losses and UNKNOWN in operation:
            request = request._replace(complete=False)  # its statement may be among what is lost
        answer = response.detail if response else None
        failed = answer is not None and answer.opcode == ERROR
        return Exchange(name, operation, status(answer), failed, request, response)


def _stream(message: Message[Any]) -> int:
    return message.detail.stream  # type: ignore[no-any-return]


def _remember(prepared: bytes, request: Request) -> None:
    if request.statements and isinstance(text := request.statements[0], str):
        _statements.pop(prepared, None)
        _statements[prepared] = text
        if len(_statements) > _KNOWN_IDS:
            del _statements[next(iter(_statements))]


def _named(request: Request) -> tuple[str, str]:
    """Operation class and operation. A prepared statement's are those of its text."""
    name = NAMES[request.opcode]
    if not request.statements:
        return name, name
    if request.opcode == BATCH:
        texts = statements(request)
        return name, f"{name} {'; '.join(texts[:_SHOWN])}{'; ...' if len(texts) > _SHOWN else ''}"
    text = _text(request.statements[0])
    if request.opcode == PREPARE or text == UNKNOWN:
        return name, f"{name} {text}"
    return (statement_class(text), text) if text else (name, name)


def statements(request: Request) -> list[str]:
    """Its statements without literals, prepared ones too, each once."""
    return list(dict.fromkeys(map(_text, request.statements)))


def _text(statement: str | bytes) -> str:
    return statement if isinstance(statement, str) else _statements.get(statement, UNKNOWN)


def _event(response: Response) -> tuple[str, str]:
    name = NAMES[EVENT]
    return (name, f"{name} {response.words[0]}") if response.opcode == EVENT and response.words else ("", "")


def status(response: Response | None) -> str:
    """`OK`, or the error's name; `ERROR` where it was not seen."""
    if response is None:
        return ""
    if response.opcode != ERROR:
        return "OK"
    return NAMES[ERROR] if response.code is None else ERRORS[response.code]


def rows(exchange: Exchange) -> int | None:
    """Rows that the server sent."""
    answer: Response | None = exchange.response.detail if exchange.response else None
    return answer.rows if answer else None


def batched(exchange: Exchange) -> int | None:
    """Statements of a batch."""
    asked: Request | None = exchange.request.detail if exchange.request else None
    return asked.number if asked and asked.opcode == BATCH else None


def missing_replicas(exchange: Exchange) -> int | None:
    """Replicas that a consistency level asks for and that did not answer, of errors that say so."""
    answer: Response | None = exchange.response.detail if exchange.response else None
    return max(0, answer.required - answer.received) if answer and answer.consistency else None


def quorum(exchange: Exchange) -> int | None:
    """1 where a majority of the replicas or more is asked for, 0 where fewer are."""
    asked: Request | None = exchange.request.detail if exchange.request else None
    if not asked or asked.opcode not in (QUERY, EXECUTE, BATCH) or not asked.consistency:
        return None
    return int(asked.consistency.endswith(("QUORUM", "ALL", "SERIAL")))
