"""Messages as text: headers without their secrets, trailers, and as much of the body as may be shown."""

from collections.abc import Sequence

from rover_core.wire import Message, Rendering
from rover_core.wire.httpbody import render_body
from rover_core.wire.rendering import shorten
from rover_http2.hpack import Field
from rover_http2.messages import Request, Response, ending


def render_message(message: Message[Request] | Message[Response], rendering: Rendering) -> str:
    """As HTTP/1.1 would write it: `GET /path HTTP/2`, or `HTTP/2 200`; `rendering.most` bytes in all."""
    detail = message.detail
    if isinstance(detail, Request):
        first = f"{detail.method or '?'} {rendering.redaction.query(detail.target) or '?'} HTTP/2"
    else:
        first = f"HTTP/2 {detail.status or ending(detail) or '?'}"
    head = "\n".join([first, *_lines(detail.fields, rendering), "", ""])
    room = rendering.most - len(head.encode())
    body = render_body(_named(detail.fields), message.content, rendering, room)
    trailers = "\n".join(_lines(detail.trailers, rendering))
    return shorten(f"{head}{body}\n\n{trailers}" if trailers else f"{head}{body}", rendering.most)


def _lines(fields: Sequence[Field], rendering: Rendering) -> list[str]:
    return [
        f"{name}: {rendering.redaction.header(name, value)}"
        for name, value in fields
        if name not in (":method", ":path", ":status")
    ]


def _named(fields: Sequence[Field]) -> dict[str, str]:
    """By name; of those that come more than once all, as one list (RFC 9110 section 5.3)."""
    found: dict[str, str] = {}
    for name, value in fields:
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found
