"""The Kafka plugin's hooks."""

from pathlib import Path
from typing import Any

from rover_core.api import ExchangeMetric, WireProtocol, hookimpl
from rover_core.wire import Capture, CaptureMode, Connection, Exchange, Limits, Message, Rendering

# What is looked at of a message, `rover_kafka.readers.HEAD`, with its header.
_CAPTURE = Capture(CaptureMode.CALLS, client=4096, server=4096)


def connect(limits: Limits) -> Connection:
    import rover_kafka.text  # noqa: F401 - workers can import nothing later
    from rover_kafka.connection import KafkaConnection

    return KafkaConnection(limits)


def fetch_wait(exchange: Exchange) -> int | None:
    from rover_kafka.connection import fetch_wait

    return fetch_wait(exchange)


def record_bytes(exchange: Exchange) -> int | None:
    from rover_kafka.connection import record_bytes

    return record_bytes(exchange)


def throttle(exchange: Exchange) -> int | None:
    from rover_kafka.connection import throttle

    return throttle(exchange)


def render(message: Message[Any], rendering: Rendering) -> str:
    from rover_kafka.text import render_message

    return render_message(message, rendering)


_METRICS = (
    ExchangeMetric("fetch_wait", "ms", fetch_wait),
    ExchangeMetric("record_bytes", "bytes", record_bytes),
    ExchangeMetric("throttle", "ms", throttle),
)


@hookimpl
def rover_protocols() -> list[WireProtocol]:
    header = Path(__file__).with_name("kafka_classify.h")
    return [WireProtocol("kafka", "kafka", header, _CAPTURE, connect, render=render, metrics=_METRICS)]
