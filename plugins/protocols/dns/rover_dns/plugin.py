"""The DNS plugin's hooks."""

from pathlib import Path

from rover_core.api import ExchangeMetric, WireProtocol, hookimpl
from rover_core.wire import Capture, CaptureMode, Connection, Exchange, Limits
from rover_dns.text import render_message

# A query with the longest name and EDNS; a response as large as resolvers ask for (1232 bytes, DNS flag day 2020).
_CAPTURE = Capture(CaptureMode.CALLS, client=512, server=1280)
_TRUNCATED = 0x0200


def connect(limits: Limits) -> Connection:
    from rover_dns.connection import DnsConnection

    return DnsConnection(limits)


def converse(limits: Limits) -> Connection:
    from rover_dns.connection import DnsConversation

    return DnsConversation(limits)


def answers(exchange: Exchange) -> int | None:
    return exchange.response.detail.counts.answers if exchange.response else None


def truncated(exchange: Exchange) -> int | None:
    """1 for an answer that did not fit: the client asks again over TCP."""
    return int(bool(exchange.response.detail.flags & _TRUNCATED)) if exchange.response else None


def retries(exchange: Exchange) -> int | None:
    """1 for a query that was sent before and is not answered yet."""
    return int(exchange.request.detail.again) if exchange.request else None


def unanswered(exchange: Exchange) -> int | None:
    """1 for a query without an answer. One by multicast (RFC 6762 section 18.1) expects none if nobody knows."""
    return int(exchange.response is None) if exchange.request and exchange.request.detail.id else None


@hookimpl
def rover_protocols() -> list[WireProtocol]:
    header = Path(__file__).with_name("dns_classify.h")
    metrics = (
        ExchangeMetric("answers", "records", answers),
        ExchangeMetric("truncated", "responses", truncated),
        ExchangeMetric("retries", "queries", retries),
        ExchangeMetric("unanswered", "queries", unanswered),
    )
    return [
        WireProtocol(
            "dns", "dns", header, _CAPTURE, connect, datagrams=converse, render=render_message, metrics=metrics
        )
    ]
