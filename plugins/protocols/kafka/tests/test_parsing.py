"""What the parser says of messages, beyond what the suite of all protocols asks."""

import struct
import tracemalloc

import pytest
from kafka_frames import (
    api_versions,
    array,
    described,
    fetch,
    fetch_by_id,
    fetched,
    fetched_by_id,
    metadata,
    produce,
    produced,
    request,
    response,
    string,
    versions,
)

from rover_core.api import WireProtocol
from rover_core.model import Loss
from rover_core.wire import Exchange, Limits
from rover_kafka.connection import KafkaConnection
from rover_kafka.plans import APIS, ERRORS, read

SECRET = b"a record's own words"


def exchanges(*steps: tuple[int, bytes, int], limits: Limits | None = None) -> list[Exchange]:
    """What comes of (direction, data, gap) steps a second apart, the connection's close included."""
    connection = KafkaConnection(limits or Limits())
    found = [each for at, step in enumerate(steps, 1) for each in connection.feed(*step, at * 1_000_000_000)]
    return [*found, *connection.close()]


def test_a_produce_that_nobody_answers_is_an_exchange() -> None:
    """Broken: with acks=0 every produce waits for an answer, and is counted as one that was never answered."""
    connection = KafkaConnection(Limits())
    (found,) = connection.feed(0, produce(1, "orders", SECRET, acks=0), 0, 1)
    assert (found.operation, found.status, found.response) == ("Produce orders", "", None)
    assert not connection.close()
    assert not connection.losses


def test_a_fetch_that_brings_nothing_is_told_from_one_that_does(protocol: WireProtocol) -> None:
    """Broken: the time that idle consumers wait is taken for the broker's latency."""
    waits = {metric.name: metric.value for metric in protocol.metrics}
    empty, full = exchanges(
        (0, fetch(1, "orders", wait_ms=700), 0), (1, fetched(1, "orders", b""), 0),
        (0, fetch(2, "orders"), 0), (1, fetched(2, "orders", SECRET), 0),
    )  # fmt: skip
    assert (empty.operation_class, full.operation_class) == ("Fetch (empty)", "Fetch")
    assert (waits["fetch_wait"](empty), waits["fetch_wait"](full)) == (700, None)
    assert (waits["record_bytes"](empty), waits["record_bytes"](full)) == (0, len(SECRET))


def test_records_are_never_kept() -> None:
    """Broken: what a company's systems tell each other lies in samples."""
    found = exchanges(
        (0, produce(1, "orders", SECRET), 0), (1, produced(1, "orders"), 0),
        (0, fetch(2, "orders"), 0), (1, fetched(2, "orders", SECRET), 0),
        limits=Limits(content=10_000),
    )  # fmt: skip
    assert len(found) == 2
    assert SECRET.decode() not in repr(found)
    assert not any(half.content for each in found for half in (each.request, each.response) if half)


def test_large_messages_are_skipped_by_their_length() -> None:
    """Broken: batches have to be captured whole."""
    message = produce(1, "orders", bytes(1 << 20))
    (found,) = exchanges((0, message[:4096], len(message) - 4096), (1, produced(1, "orders"), 0))
    assert (found.complete, found.operation, found.request_bytes) == (True, "Produce orders", len(message))


def test_a_gap_within_what_names_the_exchange_is_said() -> None:
    """Broken: a lost part of a message goes unnoticed, or costs all messages behind it."""
    message = produce(1, "orders", SECRET)
    first, second = exchanges(
        (0, message[:25], len(message) - 25), (1, produced(1, "orders"), 0),
        (0, produce(2, "orders", SECRET), 0), (1, produced(2, "orders"), 0),
    )  # fmt: skip
    assert (first.complete, first.request_bytes) == (False, len(message))
    assert (second.complete, second.operation) == (True, "Produce orders")


def test_ids_without_a_name_are_shown_as_kafka_prints_them() -> None:
    """Broken: topics of Kafka 4's fetches have no name at all."""
    topic = bytes(range(100, 116))
    steps = ((0, fetch_by_id(1, topic), 0), (1, fetched_by_id(1, topic, b"x"), 0))
    (before,) = exchanges(*steps)
    assert before.operation == "Fetch ZGVmZ2hpamtsbW5vcHFycw"
    exchanges((0, metadata(1), 0), (1, described(1, "named", topic), 0))
    (after,) = exchanges(*steps)
    assert after.operation == "Fetch named"


def test_a_version_that_the_broker_does_not_know_is_no_error() -> None:
    """Broken: every new client on an old broker is an error."""
    (found,) = exchanges((0, api_versions(1), 0), (1, versions(1, 35), 0))
    assert (found.status, found.error) == ("UNSUPPORTED_VERSION", False)


def test_two_topics_at_most_are_named() -> None:
    """Broken: every set of topics that a consumer asks for is an operation of its own."""
    topics = array(*(string(name) + array() for name in ("c", "a", "b", "a")))
    message = request(0, 7, 1, string(None) + struct.pack("!hi", 1, 1) + topics)
    (found,) = exchanges((0, message, 0))
    assert found.operation == "Produce a, b, ..."


def test_a_joined_connection_is_understood_from_its_first_request() -> None:
    """Broken: a response that was under way takes the place of the next one."""
    found = exchanges(
        (1, fetched(7, "orders", SECRET)[9:], 0), (0, fetch(8, "orders"), 0), (1, fetched(8, "orders", SECRET), 0)
    )
    assert [(each.operation, each.complete) for each in found] == [("Fetch orders", True)]


def test_lengths_that_nobody_sends_are_not_believed() -> None:
    """Broken: one wrong length, and nothing is read for two gigabytes."""
    connection = KafkaConnection(Limits())
    connection.feed(0, struct.pack("!ihhi", 0x7FFFFFFF, 0, 7, 1) + string("tester") + b"x" * 50, 0, 1)
    assert connection.losses == {Loss.UNREADABLE: 1}
    connection.feed(0, produce(2, "orders", SECRET), 0, 2)
    (found,) = connection.feed(1, produced(2, "orders"), 0, 3)
    assert found.complete


@pytest.mark.parametrize("count", [b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x80\0\0\0"])
def test_counts_are_not_believed(count: bytes) -> None:
    """Broken: a number in a message makes the agent loop or fill its memory."""
    for key, api in APIS.items():
        for version in api.versions:
            for plan in api.plans(version):
                found = read(plan, count * 50, 0)
                assert len(found.errors) <= 100, (key, version)


def test_every_api_has_a_name_and_a_plan() -> None:
    """Broken: the generated table is empty, or does not hold what Kafka has."""
    names = {key: api.name for key, api in APIS.items()}
    assert (names[0], names[1], names[3], names[18], names[36]) == (
        "Produce", "Fetch", "Metadata", "ApiVersions", "SaslAuthenticate",
    )  # fmt: skip
    assert len(names) > 80
    assert (ERRORS[0], ERRORS[3], ERRORS[-1]) == ("NONE", "UNKNOWN_TOPIC_OR_PARTITION", "UNKNOWN_SERVER_ERROR")


def test_a_response_alone_says_nothing_but_its_size() -> None:
    """Broken: what a lost request's response holds is guessed."""
    (found,) = exchanges((1, response(9, b"\0\1" * 20), 0))
    assert (found.operation, found.status, found.response_bytes) == ("", "", 48)


def test_a_million_requests_that_nobody_answers() -> None:
    """Broken: a client that asks and never reads fills the agent's memory."""
    connection = KafkaConnection(Limits(open=256))
    message = request(12, 0, 0, string("billing") + struct.pack("!i", 1) + string("member"))
    seen = 0
    tracemalloc.start()
    try:
        for start in range(0, 5_000, 100):
            numbers = range(start, start + 100)
            call = b"".join(message[:8] + struct.pack("!i", number) + message[12:] for number in numbers)
            seen += len(connection.feed(0, call, 0, start + 1))
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (kept < 1 << 20, peak < 2 << 20) == (True, True), (kept, peak)
    assert seen == connection.losses[Loss.OVER_LIMIT] == 5_000 - 256
    assert len(connection.close()) == 256
