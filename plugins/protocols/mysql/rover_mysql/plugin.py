"""The MySQL plugin's hooks."""

from pathlib import Path

from rover_core.api import ExchangeMetric, WireProtocol, hookimpl
from rover_core.wire import Capture, CaptureMode, Connection, Exchange, Limits
from rover_mysql.text import render_message

# What is looked at of a statement, and what most answers are: 16 KB is also what servers send at once. A longer one
# lasts until the client's next command.
_CAPTURE = Capture(CaptureMode.MESSAGES, client=4096, server=16_384)


def connect(limits: Limits) -> Connection:
    from rover_mysql.connection import MysqlConnection

    return MysqlConnection(limits)


def rows(exchange: Exchange) -> int | None:
    from rover_mysql.connection import rows

    return rows(exchange)


def affected_rows(exchange: Exchange) -> int | None:
    from rover_mysql.connection import affected_rows

    return affected_rows(exchange)


_METRICS = (ExchangeMetric("rows", "rows", rows), ExchangeMetric("affected_rows", "rows", affected_rows))


@hookimpl
def rover_protocols() -> list[WireProtocol]:
    header = Path(__file__).with_name("mysql_classify.h")
    return [WireProtocol("mysql", "mysql", header, _CAPTURE, connect, render=render_message, metrics=_METRICS)]
