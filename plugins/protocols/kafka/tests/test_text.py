"""Sampled requests and responses as text, and what must not be in it."""

from kafka_frames import fetch, fetched, produce, produced, request, response, string

from rover_core.wire import Limits, Rendering
from rover_kafka.connection import KafkaConnection
from rover_kafka.text import render_message


def shown(asked: bytes, answered: bytes) -> list[str]:
    connection = KafkaConnection(Limits(content=65_536))
    connection.feed(0, asked, 0, 1_000)
    (found,) = connection.feed(1, answered, 0, 5_000)
    return [render_message(half, Rendering()) for half in (found.request, found.response) if half]


def test_topics_and_outcomes_are_told_and_records_are_not() -> None:
    """Broken: a slow produce does not say to which topic, or what was produced is in a sample."""
    assert shown(produce(1, "orders", b"canary"), produced(1, "orders", 6)) == [
        "Produce v7, client tester\ntopics: orders\nbytes of records: 6",
        "NOT_LEADER_OR_FOLLOWER\ntopics: orders",
    ]
    assert shown(fetch(2, "orders"), fetched(2, "orders", b"canary")) == [
        "Fetch v11, client tester\ntopics: orders\nmay wait, ms: 500",
        "NONE\ntopics: orders\nbytes of records: 6",
    ]


def test_what_proves_who_somebody_is_stays_out() -> None:
    """Broken: a password is in a sample of a slow login."""
    login = request(36, 0, 3, b"\0\0\0\x0e\0user\0canary!!")
    told = shown(login, response(3, b"\0\0" + string(None) + bytes(4)))
    assert "canary" not in "".join(told)
    assert told[0].startswith("SaslAuthenticate v0")
