"""Every message that the parser reads, in the words of an independent dissector, and the dissector's own."""

from pathlib import Path
from typing import Any

from captures import Flow
from dissector import dissected

from rover_core.wire import Limits, Message
from rover_mysql import packets
from rover_mysql.connection import MysqlConnection

_OUTCOMES = {
    "prepared": ("statement_id", "params", "columns", "warnings"),
    "result set": ("columns", "rows", "result_sets"),
}
_OUTCOMES |= {"fields": ("columns",), "ok": ("affected_rows", "insert_id", "warnings"), "greeting": ()}
_SEPARATOR = "\x1f"
_FIELDS = ("mysql.command", "mysql.query", "mysql.stmt_id", "mysql.error_code", "mysql.sqlstate")

Field = tuple[int, int, str, str]
"""Frame, connection, the field's name and what it says."""


class Listening(MysqlConnection):
    """Keeps every message, interim ones too, with the frame that completed it."""

    def __init__(self) -> None:
        super().__init__(Limits())
        self.messages: list[tuple[int, Message[Any], int]] = []
        self.frame = 0

    def stitch(self, direction: int, message: Message[Any]) -> None:
        self.messages.append((direction, message, self.frame))
        super().stitch(direction, message)


def messages(flow: Flow) -> list[tuple[int, Message[Any], int]]:
    """Direction, message and frame."""
    connection = Listening()
    for piece in flow.pieces:
        connection.frame = piece.frame
        connection.feed(piece.direction, piece.data, piece.gap, piece.timestamp_ns)
    connection.close()
    return connection.messages


def listened(flow: Flow) -> list[dict[str, Any]]:
    """Messages in the dissector's words; what a server says in one turn is one."""
    found: list[dict[str, Any]] = []
    for direction, message, frame in messages(flow):
        told = response(message, frame) if direction else request(message, frame)
        if direction and found and found[-1]["kind"] == "response":
            found.pop()
        found.append(told)
    return found


def request(message: Message[Any], frame: int) -> dict[str, Any]:
    detail = message.detail
    told: dict[str, Any] = {"kind": "request", "frame": frame, "length": message.size - 4}
    told["command"] = detail.kind if detail.kind > 0 else None
    if detail.kind in (packets.QUERY, packets.PREPARE) and detail.text.isascii():
        told["query"] = detail.text.decode()
    if detail.kind in (packets.EXECUTE, packets.CLOSE):
        told["statement_id"] = detail.statement
    if detail.kind in (packets.LOGIN, packets.CHANGE_USER):
        told["user"] = detail.name
    return told


def response(message: Message[Any], frame: int) -> dict[str, Any]:
    detail = message.detail
    names = {"affected_rows": "affected", "result_sets": "sets", "statement_id": "statement"}
    told: dict[str, Any] = {"kind": "response", "last_frame": frame}
    if detail.kind in _OUTCOMES:
        told["outcome"] = detail.kind
        told |= {each: getattr(detail, names.get(each, each)) for each in _OUTCOMES[detail.kind]}
    told |= {"error_code": detail.code or None, "sqlstate": detail.sqlstate or None}
    return told


def fields(flow: Flow) -> list[Field]:
    """What the dissector would say of the flow."""
    found: list[Field] = []
    for direction, message, frame in messages(flow):
        for name, value in _said(message.detail) if direction else _asked(message.detail):
            found.append((frame, flow.index, name, value))
    return found


def _asked(detail: packets.Command) -> list[tuple[str, str]]:
    if detail.kind <= 0:
        return []
    told = [("mysql.command", str(detail.kind))]
    if detail.kind in (packets.QUERY, packets.PREPARE):
        told.append(("mysql.query", detail.text.decode("ascii", "replace")))
    if detail.statement:
        told.append(("mysql.stmt_id", str(detail.statement)))
    return told


def _said(detail: packets.Answer) -> list[tuple[str, str]]:
    if detail.code:
        return [("mysql.error_code", str(detail.code)), ("mysql.sqlstate", detail.sqlstate)]
    return [("mysql.stmt_id", str(detail.statement))] if detail.statement else []


def by_tshark(file: Path, port: int) -> list[Field]:
    """The same by tshark."""
    options = ["-d", f"tcp.port=={port},mysql", "-Y", "mysql", "-T", "fields", "-E", f"aggregator={_SEPARATOR}"]
    fields = [word for name in ("frame.number", "tcp.stream", *_FIELDS) for word in ("-e", name)]
    text = dissected(file, *options, *fields)
    told: list[Field] = []
    for line in text.splitlines():
        frame, connection, *columns = line.split("\t")
        for name, column in zip(_FIELDS, columns, strict=True):
            told += [(int(frame), int(connection), name, value) for value in column.split(_SEPARATOR) if value]
    return told
