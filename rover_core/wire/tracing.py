"""Trace contexts as requests carry them (contract section 5.6), whatever protocol carries the headers."""

import re
from base64 import b64decode
from collections.abc import Mapping

from rover_core.model import TraceContext

TRACE_HEADERS = ("sw8", "b3", "x-b3-traceid", "x-b3-spanid", "traceparent")
"""What `trace_context` looks at, lower case."""

_W3C = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")
_HEX_ID = re.compile(r"[0-9A-Fa-f]{1,32}")
_LONGEST = 256  # characters of an id; SkyWalking's have about 60
_SW8_PARTS = 8
_SW8_PLAIN = (0, 3)  # the sample flag and the span id; the others are base64


def trace_context(headers: Mapping[str, str]) -> TraceContext | None:
    """What the headers say, by lower-case name; the first that is well formed, in the order of TRACE_HEADERS."""
    return (
        _skywalking(headers.get("sw8", ""))
        or _zipkin(*headers.get("b3", "").split("-")[:2])
        or _zipkin(headers.get("x-b3-traceid", ""), headers.get("x-b3-spanid", ""))
        or _w3c(headers.get("traceparent", ""))
    )


def _skywalking(value: str) -> TraceContext | None:
    parts = value.strip().split("-")
    if len(parts) != _SW8_PARTS:
        return None
    try:
        texts = [
            part if index in _SW8_PLAIN else b64decode(part, validate=True).decode()
            for index, part in enumerate(parts)
        ]
    except ValueError:
        return None
    _, trace_id, segment_id, span_id = texts[:4]
    if not trace_id or max(map(len, (trace_id, segment_id, span_id))) > _LONGEST:
        return None
    return TraceContext("skywalking", trace_id, segment_id, span_id)


def _zipkin(trace_id: str = "", span_id: str = "") -> TraceContext | None:
    trace_id, span_id = trace_id.strip(), span_id.strip()
    if _HEX_ID.fullmatch(trace_id) and _HEX_ID.fullmatch(span_id):
        return TraceContext("zipkin", trace_id, "", span_id)
    return None


def _w3c(value: str) -> TraceContext | None:
    match = _W3C.fullmatch(value.strip())
    return TraceContext("zipkin", match[1], "", match[2]) if match else None
