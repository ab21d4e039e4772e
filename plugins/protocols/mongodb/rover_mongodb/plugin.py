"""The MongoDB plugin's hooks."""

from pathlib import Path
from typing import Any

from rover_core.api import ExchangeMetric, WireProtocol, hookimpl
from rover_core.wire import Capture, CaptureMode, Connection, Exchange, Limits, Message, Rendering

# A command stands before its documents, a reply's failure before everything else.
_CAPTURE = Capture(CaptureMode.CALLS, client=1024, server=1024)


def connect(limits: Limits) -> Connection:
    import rover_mongodb.text  # noqa: F401 - workers can import nothing later
    from rover_mongodb.connection import MongoConnection

    return MongoConnection(limits)


def documents(exchange: Exchange) -> int | None:
    """Written, as the server counts them, or returned by OP_REPLY. Batches of cursors are not counted."""
    return exchange.response.detail.documents if exchange.response else None


def render_message(message: "Message[Any]", rendering: Rendering) -> str:
    from rover_mongodb.text import render_message

    return render_message(message, rendering)


@hookimpl
def rover_protocols() -> list[WireProtocol]:
    header = Path(__file__).with_name("mongodb_classify.h")
    metrics = (ExchangeMetric("documents", "documents", documents),)
    return [WireProtocol("mongodb", "mongodb", header, _CAPTURE, connect, render=render_message, metrics=metrics)]
