"""Heads of frames (RFC 9113 section 4.1), and what makes nine bytes certainly one."""

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

_EXTENSIONS = frozenset((0x0A, 0x0C, 0x10))  # ALTSVC, ORIGIN, PRIORITY_UPDATE
_FLAGS = {
    DATA: END_STREAM | PADDED,
    HEADERS: END_STREAM | END_HEADERS | PADDED | PRIORITIZED,
    PRIORITY: 0,
    RST_STREAM: 0,
    SETTINGS: ACK,
    PUSH_PROMISE: END_HEADERS | PADDED,
    PING: ACK,
    GOAWAY: 0,
    WINDOW_UPDATE: 0,
    CONTINUATION: END_HEADERS,
}
_LENGTHS = {PRIORITY: 5, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
_OF_CONNECTION = frozenset((SETTINGS, PING, GOAWAY))


class Frame(NamedTuple):
    length: int
    kind: int
    flags: int
    stream: int


def frame_at(data: bytes | bytearray, at: int) -> Frame | None:
    """The head that is there, all nine bytes of it. None if it is none, or of a frame that nobody sends."""
    whole = int.from_bytes(data[at : at + HEAD], "big")
    length, kind, flags, stream = whole >> 48, whole >> 40 & 0xFF, whole >> 32 & 0xFF, whole & 0xFFFFFFFF
    if stream >> 31:
        return None
    allowed = _FLAGS.get(kind)
    if allowed is None:
        return Frame(length, kind, flags, stream) if kind in _EXTENSIONS and length < LONGEST_HELD else None
    if flags & ~allowed or length > (LONGEST_HELD if kind else LONGEST):
        return None
    if kind in _OF_CONNECTION:
        if stream or (kind == SETTINGS and (length % 6 or (flags and length))) or (kind == GOAWAY and length < 8):
            return None
    elif not stream and kind != WINDOW_UPDATE:
        return None
    if _LENGTHS.get(kind, length) != length:
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
