"""Heads of frames (RFC 9113 section 4.1), and what makes nine bytes certainly one."""

import struct
from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD = 9
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 1, 1, 4, 8, 0x20
LONGEST = 1 << 20
"""Bytes of DATA. SETTINGS_MAX_FRAME_SIZE may allow up to 16 MB; nobody is known to ask for more than this."""
LONGEST_HELD = 65_000
"""Bytes of the other frames, which are taken whole."""

ERRORS = (
    *("NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED"),
    *("FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM"),
    *("INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"),
)
"""Section 7, by number."""

_HEAD = struct.Struct(">HBBBI")  # length >> 8, length & 0xFF, type, flags, stream
_HIGHEST = (1 << 31) - 1
_ANY, _STREAM, _CONNECTION = (0, _HIGHEST), (1, _HIGHEST), (0, 0)
_RULES = {
    DATA: (END_STREAM | PADDED, 0, LONGEST, *_STREAM),
    HEADERS: (END_STREAM | END_HEADERS | PADDED | PRIORITIZED, 0, LONGEST_HELD, *_STREAM),
    PRIORITY: (0, 5, 5, *_STREAM),
    RST_STREAM: (0, 4, 4, *_STREAM),
    SETTINGS: (ACK, 0, LONGEST_HELD, *_CONNECTION),
    PUSH_PROMISE: (END_HEADERS | PADDED, 0, LONGEST_HELD, *_STREAM),
    PING: (ACK, 8, 8, *_CONNECTION),
    GOAWAY: (0, 8, LONGEST_HELD, *_CONNECTION),
    WINDOW_UPDATE: (0, 4, 4, *_ANY),
    CONTINUATION: (END_HEADERS, 0, LONGEST_HELD, *_STREAM),
} | dict.fromkeys((0x0A, 0x0C, 0x10), (0xFF, 0, LONGEST_HELD - 1, *_ANY))  # ALTSVC, ORIGIN, PRIORITY_UPDATE
"""Of each type the flags that may be set, and the least and the greatest length and stream."""


class Frame(NamedTuple):
    """length: of the payload."""

    length: int
    kind: int
    flags: int
    stream: int


def frame_at(data: bytes | bytearray, at: int) -> Frame | None:
    """The head that is there, all nine bytes of it. None if it is none, or of a frame that nobody sends."""
    high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
    rule = _RULES.get(kind)
    if rule is None:
        return None
    allowed, shortest, longest, lowest, highest = rule
    length = high << 8 | low
    if flags & ~allowed or not shortest <= length <= longest or not lowest <= stream <= highest:
        return None
    if kind == SETTINGS and (length % 6 or (flags and length)):
        return None
    return Frame(length, kind, flags, stream)


def without_padding(frame: Frame, payload: bytes) -> bytes | None:
    """What the frame carries beside padding and priority (sections 6.1, 6.2). None where they are longer than it."""
    flags, end, at = frame.flags, len(payload), 0
    if flags & PADDED:
        if not payload:
            return None
        end, at = end - payload[0], 1
    if flags & PRIORITIZED and frame.kind == HEADERS:
        at += 5
    return payload[at:end] if at <= end else None


def error_name(code: int) -> str:
    return ERRORS[code] if code < len(ERRORS) else f"error {code}"
