"""Messages as text for people. What was bound, what rows hold, tokens and errors' texts are never in it."""

from typing import Any

from rover_core.wire import Message, Rendering
from rover_core.wire.rendering import shorten
from rover_cql.connection import statements, status
from rover_cql.messages import ERROR, NAMES, RESULT, TRACING, Request, Response

_KINDS = ("", "void", "rows", "set keyspace", "prepared", "schema change")


def render_message(message: Message[Any], rendering: Rendering) -> str:
    """At most `rendering.most` bytes."""
    detail = message.detail
    lines = _asked(detail) if isinstance(detail, Request) else _said(detail)
    return shorten("\n".join(lines), rendering.most)


def _asked(request: Request) -> list[str]:
    about = [
        f"consistency {request.consistency}" if request.consistency else "",
        f"serial {request.serial}" if request.serial else "",
        f"{request.values} values" if request.values else "",
        f"{request.number} statements" if request.number > 1 else "",
        f"pages of {request.page_size} rows" if request.page_size else "",
        "a further page" if request.continued else "",
        "traced" if request.flags & TRACING else "",
    ]
    return [_head(request), *_joined(about), *statements(request), *_joined(request.words)]


def _said(response: Response) -> list[str]:
    about: list[str] = []
    if response.opcode == ERROR:
        about.append(status(response))
        if response.consistency:
            about.append(f"{response.received} of {response.required} replicas for {response.consistency}")
    if response.opcode == RESULT:
        about.append(_KINDS[response.kind])
    if response.rows is not None:
        about.append(f"{response.rows} rows of {response.columns} columns")
    about.append("more pages" if response.more else "")
    about.append(".".join(filter(None, (response.keyspace, response.table))))
    about.append(f"{response.warnings} warnings" if response.warnings else "")
    return [_head(response), *_joined(about), *_joined(response.words)]


def _head(detail: Request | Response) -> str:
    return f"{NAMES[detail.opcode]} (version {detail.version}, stream {detail.stream})"


def _joined(words: "list[str] | tuple[str, ...]") -> list[str]:
    found = ", ".join(filter(None, words))
    return [found] if found else []
