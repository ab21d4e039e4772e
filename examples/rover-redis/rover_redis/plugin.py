"""The Redis plugin's hooks."""

from pathlib import Path
from typing import Any

from rover_core.api import ExchangeMetric, WireProtocol, hookimpl
from rover_core.wire import Capture, CaptureMode, Connection, Exchange, Limits, Message, Rendering
from rover_redis.commands import LOOKUPS

# A pipeline of small commands and its answers. What a longer answer holds is not asked.
_CAPTURE = Capture(CaptureMode.MESSAGES, client=4096, server=1024)


def connect(limits: Limits) -> Connection:
    from rover_redis.connection import RedisConnection

    return RedisConnection(limits)


def misses(exchange: Exchange) -> int | None:
    """1 for a key that is not there, as `keyspace_misses` of INFO counts."""
    if exchange.operation not in LOOKUPS or not exchange.response:
        return None
    return int(exchange.response.detail.null)


def render(message: Message[Any], rendering: Rendering) -> str:
    """`SET, 3 words`; `-WRONGTYPE`; `*, 12 elements`. Keys, values and passwords are nobody's business."""
    part = message.detail
    size = f", {part.size} {'words' if part.words else 'bytes or elements'}" if part.size else ""
    return f"{part.word or part.kind}{part.code}{' null' if part.null else size}"[: rendering.most]


@hookimpl
def rover_protocols() -> list[WireProtocol]:
    header = Path(__file__).with_name("redis_classify.h")
    metrics = (ExchangeMetric("misses", "keys", misses),)
    return [WireProtocol("redis", "redis", header, _CAPTURE, connect, render=render, metrics=metrics)]
