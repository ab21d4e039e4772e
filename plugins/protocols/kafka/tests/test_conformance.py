"""The suite of every protocol, over the shapes that Kafka's messages take."""

from kafka_frames import (
    api_versions,
    described,
    fetch,
    fetch_by_id,
    fetched,
    fetched_by_id,
    join,
    joined,
    metadata,
    produce,
    produced,
    versions,
)

from rover_core.api import WireProtocol
from rover_core.testing import ProtocolConformance, Transcript
from rover_core.wire import Direction
from rover_kafka import plugin

C, S = Direction.CLIENT, Direction.SERVER
RECORDS = bytes(range(160, 256))
TOPIC = bytes(range(1, 17))
PRODUCE = ("Produce orders", "NONE", False)
FETCH = ("Fetch orders", "NONE", False)


class TestKafka(ProtocolConformance):
    def make(self) -> WireProtocol:
        (protocol,) = plugin.rover_protocols()
        return protocol

    def transcripts(self) -> list[Transcript]:
        return [
            Transcript(
                "one after the other",
                [
                    (C, api_versions(1)), (S, versions(1)),
                    (C, produce(2, "orders", RECORDS)), (S, produced(2, "orders")),
                    (C, produce(3, "orders", RECORDS)), (S, produced(3, "orders", 6)),
                    (C, fetch(4, "orders")), (S, fetched(4, "orders", RECORDS)),
                    (C, fetch(5, "orders")), (S, fetched(5, "orders", b"")),
                    (C, join(6, "billing")), (S, joined(6, 79)),
                    (C, join(7, "billing")), (S, joined(7, 25)),
                ],
                [
                    ("ApiVersions", "NONE", False), PRODUCE,
                    ("Produce orders", "NOT_LEADER_OR_FOLLOWER", True), FETCH,
                    ("Fetch (empty) orders", "NONE", False), ("JoinGroup", "MEMBER_ID_REQUIRED", False),
                    ("JoinGroup", "UNKNOWN_MEMBER_ID", True),
                ],
            ),
            Transcript(
                "several in flight, calls that carry several messages or parts of them",
                [
                    (C, produce(1, "orders", RECORDS) + produce(2, "orders", RECORDS)),
                    (C, fetch(3, "orders")[:4]), (C, fetch(3, "orders")[4:]),
                    (S, produced(1, "orders") + produced(2, "orders")[:30]), (S, produced(2, "orders")[30:]),
                    (S, fetched(3, "orders", RECORDS)[:4]), (S, fetched(3, "orders", RECORDS)[4:]),
                ],
                [PRODUCE, PRODUCE, FETCH],
                independent=False,
            ),
            Transcript(
                "topics by their ids",
                [
                    (C, metadata(1)), (S, described(1, "orders", TOPIC)),
                    (C, fetch_by_id(2, TOPIC)), (S, fetched_by_id(2, TOPIC, RECORDS)),
                ],
                [("Metadata", "NONE", False), FETCH],
            ),
        ]  # fmt: skip
