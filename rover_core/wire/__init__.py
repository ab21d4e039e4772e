"""The sans-IO kit of protocol plugins: bytes that passed on a connection become messages, messages exchanges.

Standard library only, so that a worker process needs nothing else. docs/writing-a-protocol.md is the tour.
"""

from rover_core.model import TraceContext
from rover_core.wire.buffer import WITHOUT_END, Buffer
from rover_core.wire.connection import INVALID, NEED_MORE, SKIPPED, Connection, Outcome, Reader
from rover_core.wire.records import Capture, CaptureMode, Direction, Exchange, Limits, Message
from rover_core.wire.redaction import Redaction
from rover_core.wire.rendering import Rendering
from rover_core.wire.stitching import ById, InOrder, Stitcher
from rover_core.wire.tracing import TRACE_HEADERS, trace_context

__all__ = [
    "INVALID",
    "NEED_MORE",
    "SKIPPED",
    "TRACE_HEADERS",
    "WITHOUT_END",
    "Buffer",
    "ById",
    "Capture",
    "CaptureMode",
    "Connection",
    "Direction",
    "Exchange",
    "InOrder",
    "Limits",
    "Message",
    "Outcome",
    "Reader",
    "Redaction",
    "Rendering",
    "Stitcher",
    "TraceContext",
    "trace_context",
]
