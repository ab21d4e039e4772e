"""The HTTP/1.x plugin's hooks."""

from pathlib import Path

from rover_core.api import WireProtocol, hookimpl
from rover_core.wire import Capture, CaptureMode, Connection, Exchange, Limits, TraceContext
from rover_core.wire.http import status_reason
from rover_http1.text import render_message

# A browser's request with its cookies; a response's head and the beginning of its body.
_CAPTURE = Capture(CaptureMode.CALLS, client=4096, server=1024)


def connect(limits: Limits) -> Connection:
    from rover_http1.connection import Http1Connection

    return Http1Connection(limits)


def trace(exchange: Exchange) -> TraceContext | None:
    from rover_http1.heads import trace_of

    return trace_of(exchange.request.detail) if exchange.request else None


def path(exchange: Exchange) -> str:
    return exchange.request.detail.path if exchange.request else ""


@hookimpl
def rover_protocols() -> list[WireProtocol]:
    header = Path(__file__).with_name("http1_classify.h")
    return [
        WireProtocol(
            "http1",
            "http",
            header,
            _CAPTURE,
            connect,
            trace=trace,
            subject=path,
            reason=status_reason,
            render=render_message,
        )
    ]
