"""Messages as text: the shape of a command or a reply, with `?` for what users store and ask for.

As in the server's own query shapes keys are kept and values are not. What stands in documents beside the command is
left out.
"""

from rover_core.wire import Message, Rendering
from rover_core.wire.rendering import shorten
from rover_mongodb.bson import ARRAY, DOCUMENT, elements, number
from rover_mongodb.commands import is_value, operation
from rover_mongodb.compression import beginning
from rover_mongodb.messages import HEADER, MSG, Command, Reply, body_of

_FLAGS = 4
_COMPRESSION = 9  # opcode, length and compressor
_MOST = 16_384  # bytes of a compressed message
_DEPTH = 8
_TOLD = frozenset((b"ok", b"n", b"nModified", b"code"))
_LONGEST_KEY = 80


def render_message(message: Message[Command] | Message[Reply], rendering: Rendering) -> str:
    detail = message.detail
    if isinstance(detail, Command):
        text = operation(detail.command, detail.collection)
        text = f"{text}, database {detail.database}" if detail.database else text
    else:
        text = f"error {detail.code or ''}".rstrip() if detail.failed else "OK"
    if detail.opcode == MSG and (shown := _shape(detail.compressor, message.content)):
        text = f"{text}\n{shown}"
    return shorten(text, rendering.most)


def _shape(compressor: int | None, content: bytes) -> str:
    data = content[HEADER.size :]
    if compressor is not None:
        data = beginning(compressor, data[_COMPRESSION:], _MOST)
    at = body_of(data, _FLAGS, len(data))
    return _document(data, at, len(data), _DEPTH) if at < len(data) else ""


def _document(data: bytes, at: int, end: int, depth: int) -> str:
    if not depth:
        return "{...}"
    members = (
        f"{_key(key)}: {_value(data, kind, key, value, end, depth)}"
        for kind, key, value, _ in elements(data, at, end)
    )
    return f"{{{', '.join(members)}}}"


def _value(data: bytes, kind: int, key: bytes, at: int, end: int, depth: int) -> str:
    if kind == DOCUMENT:
        return _document(data, at, end, depth - 1)
    if kind == ARRAY:
        first = next(elements(data, at, end), None)
        return f"[{_value(data, first[0], b'', first[2], end, depth - 1)}, ...]" if first and depth else "[]"
    told = number(data, kind, at, end) if key in _TOLD else None
    return "?" if told is None else str(told)


def _key(key: bytes) -> str:
    """Keys may be values: of maps by user or by day."""
    text = key[:_LONGEST_KEY].decode("utf-8", "replace")
    return "{}" if is_value(text) else text
