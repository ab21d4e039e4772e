"""Published captures, message by message against an independent dissector's reading of them."""

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from captures import FOLDER, Flow, Published, captured, disagreements, flows
from classifying import Classify, directed

from rover_core.wire import Limits, Message
from rover_http1.connection import Http1Connection
from rover_http1.messages import headers

CAPTURES = captured("http")
COUNT = 24
_HEADERS = ("content_type", "content_length", "transfer_encoding", "content_encoding", "connection", "upgrade")


class Listening(Http1Connection):
    """Keeps every message, interim ones too, with the frame that completed it."""

    def __init__(self) -> None:
        super().__init__(Limits(content=1 << 24))
        self.messages: list[tuple[int, Message[Any], int]] = []
        self.frame = 0

    def stitch(self, direction: int, message: Message[Any]) -> None:
        self.messages.append((direction, message, self.frame))
        super().stitch(direction, message)


def read(flow: Flow) -> Listening:
    connection = Listening()
    for piece in flow.pieces:
        connection.frame = piece.frame
        connection.feed(piece.direction, piece.data, piece.gap, piece.timestamp_ns)
    connection.close()
    return connection


def body_of(message: Message[Any]) -> bytes | None:
    """The body with its coding undone; None where that takes more than the standard library."""
    body = message.content[len(message.detail.head) :]
    coding = dict(headers(message.detail.head)).get("content-encoding", "identity")
    match coding:
        case "identity":
            return body
        case "gzip":
            return gzip.decompress(body) if body else b""
        case "deflate":
            return zlib.decompress(body)
        case _:
            return None


def described(direction: int, message: Message[Any], frame: int) -> dict[str, Any]:
    """A message in the dissector's words."""
    detail = message.detail
    found: dict[str, Any] = {"frame": frame, "version": f"HTTP/{detail.version}" if detail.version else ""}
    if direction:
        found |= {"kind": "response", "status": detail.status, "reason": detail.reason or None}
    else:
        found |= {"kind": "request", "method": detail.method, "uri": detail.target}
    named = dict(headers(detail.head))
    found |= {key: named.get(key.replace("_", "-")) for key in _HEADERS}
    if found["content_length"]:
        found["content_length"] = int(found["content_length"])
    body = body_of(message)
    if body is not None:
        digest = hashlib.sha256(body).hexdigest()
        found |= {"body_length": len(body), "body_sha256": digest} if body else {"body_length": None}
    return found


def differences(capture: Published, classify: Classify) -> Iterator[str]:
    expected = [each for each in capture.messages if each["proto"] == "http"]
    for flow in flows(capture.file):
        mine = directed(flow, classify)
        found = [described(*each) for each in read(mine).messages] if mine else []
        for kind in ("request", "response"):
            theirs = [each for each in expected if (each["stream"], each["kind"]) == (flow.index, kind)]
            these = [each for each in found if each["kind"] == kind]
            yield from disagreements(f"stream {flow.index}", f"{kind}s", theirs, these)


KNOWN = {
    # 22 request lines are not listed. In 17 only the space before the target is missing, and the server answers them
    # (49 responses on 49 connections, as here); in five the method is not even text, and they are none here either.
    "http/methods.pcap": {
        f"stream {stream}: 0 requests, found 1"
        for stream in (2, 7, 8, 17, 18, 22, 23, 27, 28, 32, 33, 37, 38, 42, 43, 47, 48)
    },
    # The body's last byte is in frame 52; frame 59 is the FIN that says that it was the last.
    "http/http10-close.pcap": {"frame 59: frame 59, found 52"},
    # The response to /2 (Content-Length: 70) is there: head in frame 13, 56 bytes of its body in frames 15 to 22, and
    # by the sequence numbers 14 bytes are missing between them.
    "http/gap.pcap": {"stream 0: 2 responses, found 3"},
}
"""Where the dissector is wrong or says less, with the proof."""


def test_the_captures_are_all_there() -> None:
    """Broken: the comparison below compares nothing, or not all."""
    if not FOLDER.exists():
        pytest.skip(f"there is no {FOLDER}")
    assert len(CAPTURES) == COUNT


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda capture: capture.name)
def test_every_message_agrees_with_the_dissector(capture: Published, classify: Classify) -> None:
    """Broken: a message is missed, invented, cut wrongly or misread."""
    if "keylog" in capture.about:
        pytest.skip("inside TLS: the agent reads the plain text from the libraries, not by keys")
    assert set(differences(capture, classify)) == KNOWN.get(capture.name, set())
