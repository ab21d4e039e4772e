"""The HTTP/2 plugin's hooks."""

from pathlib import Path

from rover_core.api import ExchangeMetric, WireProtocol, hookimpl
from rover_core.wire import Capture, CaptureMode, Connection, Exchange, Limits, TraceContext
from rover_core.wire.http import status_reason
from rover_http2.text import render_message

_CAPTURE = Capture(CaptureMode.FRAMES)


def connect(limits: Limits) -> Connection:
    from rover_http2.connection import Http2Connection

    return Http2Connection(limits)


def trace(exchange: Exchange) -> TraceContext | None:
    from rover_http2.messages import trace_of

    return trace_of(exchange.request.detail) if exchange.request else None


def path(exchange: Exchange) -> str:
    return exchange.request.detail.path if exchange.request else ""


def reset(exchange: Exchange) -> int | None:
    """1 for a stream that RST_STREAM ended, whatever the reason."""
    return any(half and half.detail.reset >= 0 for half in (exchange.request, exchange.response)) or None


def refused(exchange: Exchange) -> int | None:
    """1 for a request that a GOAWAY said nobody has looked at."""
    return (exchange.request is not None and exchange.request.detail.gone_away) or None


def pushed(exchange: Exchange) -> int | None:
    """1 for what the server promised without being asked."""
    return (exchange.request is not None and exchange.request.detail.pushed) or None


def partial(exchange: Exchange) -> int | None:
    """1 where some headers are not known, since the connection was joined in the middle or blocks were lost."""
    return any(half and half.detail.partial for half in (exchange.request, exchange.response)) or None


@hookimpl
def rover_protocols() -> list[WireProtocol]:
    header = Path(__file__).with_name("http2_classify.h")
    metrics = (
        ExchangeMetric("resets", "streams", reset),
        ExchangeMetric("refused", "streams", refused),
        ExchangeMetric("pushed", "streams", pushed),
        ExchangeMetric("partial", "streams", partial),
    )
    return [
        WireProtocol(
            "http2",
            "http",
            header,
            _CAPTURE,
            connect,
            trace=trace,
            subject=path,
            reason=status_reason,
            render=render_message,
            metrics=metrics,
            selector=header.with_name("http2_select.h"),
            continues=("h2c",),
        )
    ]
