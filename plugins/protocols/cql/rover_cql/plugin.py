"""The CQL plugin's hooks."""

from pathlib import Path

from rover_core.api import ExchangeMetric, WireProtocol, hookimpl
from rover_core.wire import Capture, CaptureMode, Connection, Exchange, Limits
from rover_cql.text import render_message

# Clients and servers gather many messages in a call, of which each is an exchange.
_CAPTURE = Capture(CaptureMode.CALLS, client=16_384, server=16_384)


def connect(limits: Limits) -> Connection:
    from rover_cql.connection import CqlConnection

    return CqlConnection(limits)


def rows(exchange: Exchange) -> int | None:
    from rover_cql.connection import rows

    return rows(exchange)


def batched(exchange: Exchange) -> int | None:
    from rover_cql.connection import batched

    return batched(exchange)


def missing_replicas(exchange: Exchange) -> int | None:
    from rover_cql.connection import missing_replicas

    return missing_replicas(exchange)


def quorum(exchange: Exchange) -> int | None:
    from rover_cql.connection import quorum

    return quorum(exchange)


_METRICS = (
    ExchangeMetric("rows", "rows", rows),
    ExchangeMetric("batched", "statements", batched),
    ExchangeMetric("missing_replicas", "replicas", missing_replicas),
    ExchangeMetric("quorum", "requests", quorum),
)


@hookimpl
def rover_protocols() -> list[WireProtocol]:
    header = Path(__file__).with_name("cql_classify.h")
    return [WireProtocol("cql", "cql", header, _CAPTURE, connect, render=render_message, metrics=_METRICS)]
