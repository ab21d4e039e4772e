"""What the classifier takes for Kafka; that it takes nothing else is tested for all protocols together."""

import pytest
from captures import FOLDER, captured, flows
from classifying import Classify
from kafka_frames import api_versions, fetch, fetched, metadata, produce, produced, request, versions


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (api_versions(1), 1),
        (api_versions(1)[4:], 1),  # behind a length that was read alone
        (metadata(2), 1),
        (fetch(3, "orders"), 1),
        (produce(4, "orders", b"x" * 900), 1),
        (request(12, 4, 5, b"\0" * 20, client=None), 0),  # too little to be sure of; others say who they are
        (produced(7, "orders"), 0),
        (fetched(7, "orders", b"x" * 900), 0),
        (versions(1), 0),
        (b"", 0),
        (api_versions(1)[:14], 0),
        (b"\0\0\0\x05hello", 0),
        # Of other protocols: a message of a chat, and offsets in a film.
        (bytes.fromhex("000000b60000000d01000000000c35313836353434381c6cc527386dcb3aa3bdd615b1c037fc"), 0),
        (bytes.fromhex("0055050000410000005d05000001400000500500000300000058050000010200005405000021"), 0),
    ],
)
def test_verdicts(classify: Classify, data: bytes, verdict: int) -> None:
    """Broken: Kafka's connections are missed, or others, or answers, are read as requests."""
    assert classify(data) == verdict


def test_real_requests_are_recognised(classify: Classify) -> None:
    """Broken: real clients' connections are missed, or their directions exchanged."""
    if not FOLDER.exists():
        pytest.skip(f"there is no {FOLDER}")
    for capture in captured("kafka"):
        for flow in flows(capture.file):
            theirs = {
                each["src"] for each in capture.messages if (each["stream"], each["kind"]) == (flow.index, "request")
            }
            asked = [piece.direction for piece in flow.pieces if classify(piece.data)]
            assert {(flow.client, flow.server)[each] for each in asked} == theirs, (capture.name, flow.index)
