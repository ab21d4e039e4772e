"""The HTTP/1.x plugin's hooks."""

from pathlib import Path
from typing import Any

from rover_core.api import FastPath, WireProtocol, hookimpl
from rover_core.wire import Capture, CaptureMode, Connection, Exchange, Limits, TraceContext
from rover_core.wire.http import SERVER_ERROR, status_reason
from rover_http1.text import render_message

# A browser's request with its cookies; a response's head and the beginning of its body.
_CAPTURE = Capture(CaptureMode.CALLS, client=4096, server=1024)


def connect(limits: Limits) -> Connection:
    from rover_http1.connection import Http1Connection

    return Http1Connection(limits)


def trace(exchange: Exchange) -> TraceContext | None:
    from rover_http1.messages import trace_of

    return trace_of(exchange.request.detail) if exchange.request else None


def path(exchange: Exchange) -> str:
    return exchange.request.detail.path if exchange.request else ""


def request(operation_class: str, operation: str) -> Any:
    from rover_http1.messages import Request

    return Request(operation_class, operation.partition(" ")[2], "", b"")


def response(status: int) -> Any:
    from rover_http1.messages import Response

    return Response(status, "", b"")


def failed(status: int) -> bool:
    return status >= SERVER_ERROR


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
            fast=FastPath(header.with_name("http1_judge.h"), request, response, failed),
        )
    ]
