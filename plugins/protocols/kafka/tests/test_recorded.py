"""Recorded traffic against the client's own account of it."""

from pathlib import Path

from captures import recorded
from classifying import Classify
from kafka_accounts import found, read_account, told
from reading import read_all

from rover_core.api import WireProtocol

CAPTURE = Path(__file__).parent / "captures" / "kafka-python.pcap.gz"


def test_recorded_exchanges_are_those_of_the_clients_account(
    protocol: WireProtocol, classify: Classify, tmp_path: Path
) -> None:
    """Broken: what a real client and broker said is missed, doubled or misread."""
    exchanges = read_all(protocol, recorded(CAPTURE, tmp_path), classify)
    account = told(read_account(CAPTURE.with_name("kafka-python.jsonl").read_text()))
    assert sum(account.values()) > 30
    seen = found(exchanges)
    for counts in (seen, account):  # of the last Fetch the client did not wait for the answer
        counts["Fetch", "NONE"] += counts.pop(("Fetch", ""), 0)
    assert seen == account
