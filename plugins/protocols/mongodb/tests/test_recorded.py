"""Recorded traffic against the driver's own account of it."""

import json
from pathlib import Path

from captures import recorded
from classifying import Classify
from reading import read_all

from rover_core.api import WireProtocol

CAPTURE = Path(__file__).parent / "captures" / "pymongo.pcap.gz"


def test_recorded_exchanges_are_those_of_the_drivers_account(
    protocol: WireProtocol, classify: Classify, tmp_path: Path
) -> None:
    """Broken: what a real driver and server said is missed, doubled or misread."""
    exchanges = read_all(protocol, recorded(CAPTURE, tmp_path), classify)
    found = {each.request.detail.id: each for each in exchanges if each.request}
    account = [json.loads(line) for line in CAPTURE.with_name("pymongo.jsonl").read_text().splitlines()]
    assert len(account) == 20
    for number, operation, outcome in account:
        operation = "other" if operation.startswith("frobnicate") else operation
        each = found[number]
        assert (each.operation, each.status, each.error) == (operation, outcome, outcome != "OK")
        assert each.complete
    others = {each.operation for number, each in found.items() if number not in {each[0] for each in account}}
    assert others <= {"isMaster", "hello", "endSessions"}
