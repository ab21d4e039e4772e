"""Messages as text: the head without its secrets, and as much of the body as may be shown."""

from rover_core.wire import Message, Rendering
from rover_core.wire.httpbody import render_body
from rover_core.wire.rendering import shorten
from rover_http1.messages import Request, Response, headers


def render_message(message: Message[Request] | Message[Response], rendering: Rendering) -> str:
    """Head and body, `rendering.most` bytes of them together. Trailers are left out."""
    head = message.detail.head
    text = rendering.redaction.head(_decoded(head))
    # Content that does not begin with the head is none that could be told apart from it.
    body = message.content[len(head) :] if message.content.startswith(head) else b""
    room = rendering.most - len(text.encode())
    return shorten(text + render_body(_named(head), body, rendering, room), rendering.most)


def _decoded(head: bytes) -> str:
    try:
        return head.decode()
    except UnicodeDecodeError:
        return head.decode("latin-1")


def _named(head: bytes) -> dict[str, str]:
    """By lower-case name; of those that come more than once all, as one list (RFC 9110 section 5.3)."""
    found: dict[str, str] = {}
    for name, value in headers(head):
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found
