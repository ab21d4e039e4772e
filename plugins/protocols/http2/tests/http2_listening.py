"""Every frame that the parser reads, in the words of an independent dissector."""

from collections.abc import Iterator
from typing import Any

from captures import Flow, Published, disagreements, flows
from classifying import Classify, directed

from rover_core.wire import Direction, Limits, Message, Outcome
from rover_http2.connection import Http2Connection
from rover_http2.frames import END_STREAM, Frame
from rover_http2.hpack import UNKNOWN, Decoder, Field
from rover_http2.readers import FrameReader

NAMES = {
    **dict(enumerate(("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY"))),
    8: "WINDOW_UPDATE",
    9: "CONTINUATION",
}


class Recalling(Decoder):
    """Keeps the fields of the newest block."""

    __slots__ = ("fields",)

    def __init__(self) -> None:
        super().__init__()
        self.fields: list[Field] = []

    def decode(self, block: bytes) -> tuple[list[Field], bool]:
        self.fields, whole = super().decode(block)
        return self.fields, whole


class Listening(FrameReader):
    """Keeps every frame, in the dissector's words, with the packet that completed it."""

    def __init__(self, direction: Direction) -> None:
        super().__init__(Limits(), direction)
        self._decoder = Recalling()
        self.kind = ("request", "response")[direction]
        self.packet = 0
        self.heard: list[dict[str, Any]] = []

    def _note(self, frame: Frame) -> dict[str, Any]:
        found = {"frame": self.packet, "kind": self.kind, "frame_type": NAMES[frame.kind], "length": frame.length}
        found |= {"h2_stream": frame.stream, "flags": frame.flags}
        if frame.kind in (0, 1):
            found["end_stream"] = bool(frame.flags & END_STREAM)
        self.heard.append(found)
        return found

    def _take(self, frame: Frame, payload: bytes) -> Message[Any] | Outcome:
        found = self._note(frame)
        self._decoder.fields = []  # type: ignore[attr-defined]
        result = super()._take(frame, payload)
        found["headers"] = [list(each) for each in self._decoder.fields]  # type: ignore[attr-defined]
        return result

    def _end_data(self, frame: Frame) -> Message[Any] | None:
        self._note(frame)
        return super()._end_data(frame)


class ListeningConnection(Http2Connection):
    def __init__(self) -> None:
        super().__init__(Limits())
        self._client, self._server = Listening(Direction.CLIENT), Listening(Direction.SERVER)
        self.readers = (self._client, self._server)


def read(flow: Flow) -> list[dict[str, Any]]:
    connection = ListeningConnection()
    for piece in flow.pieces:
        reader = connection.readers[piece.direction]
        reader.packet = piece.frame  # type: ignore[attr-defined]
        connection.feed(piece.direction, piece.data, piece.gap, piece.timestamp_ns)
    return [each for reader in connection.readers for each in reader.heard]  # type: ignore[attr-defined]


def told(message: dict[str, Any]) -> dict[str, Any]:
    """What the dissector says, with unknown names and values as here."""
    headers = message.get("headers", [])
    unknown = [[UNKNOWN, value or UNKNOWN] if name == "<unknown>" else [name, value] for name, value in headers]
    return {**message, "headers": unknown}


def joined(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With the headers of a block that goes on at its last frame. The dissector has each frame's own."""
    begun: list[list[str]] = []
    for each in frames:
        if each["frame_type"] in ("HEADERS", "PUSH_PROMISE", "CONTINUATION"):
            begun += each["headers"]
            ends = each["flags"] & 4
            each["headers"] = begun if ends else []
            begun = [] if ends else begun
    return frames


def differences(capture: Published, classify: Classify) -> Iterator[str]:
    mine = [each for each in capture.messages if each.get("proto", "http2") == "http2"]
    messages = [told(each) for each in mine if each["frame_type"] != "MAGIC"]
    for flow in flows(capture.file):
        known = directed(flow, classify)
        found = read(known) if known else []
        for kind in ("request", "response"):
            theirs = joined([each for each in messages if (each["stream"], each["kind"]) == (flow.index, kind)])
            these = [each for each in found if each["kind"] == kind]
            yield from disagreements(f"stream {flow.index}", f"{kind} frames", theirs, these)
