"""The Kafka plugin's hooks."""

from pathlib import Path

from rover_core.api import ExchangeMetric, WireProtocol, hookimpl
from rover_core.wire import Capture, CaptureMode, Connection, Exchange, Limits

# What is looked at of a message, `rover_kafka.readers.HEAD`, with its header.
_CAPTURE = Capture(CaptureMode.CALLS, client=4096, server=4096)


def connect(limits: Limits) -> Connection:
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


_METRICS = (
    ExchangeMetric("fetch_wait", "ms", fetch_wait),
    ExchangeMetric("record_bytes", "bytes", record_bytes),
    ExchangeMetric("throttle", "ms", throttle),
)


@hookimpl
def rover_protocols() -> list[WireProtocol]:
    header = Path(__file__).with_name("kafka_classify.h")
    return [WireProtocol("kafka", "kafka", header, _CAPTURE, connect, metrics=_METRICS)]
