"""Recorded traffic against the drivers' own accounts of it."""

from pathlib import Path

import pytest
from captures import recorded
from classifying import Classify
from mysql_accounts import found, read_account, told
from reading import read_all

from rover_core.api import WireProtocol

RECORDED = sorted((Path(__file__).parent / "captures").glob("*.pcap.gz"))


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.name.partition(".")[0])
def test_recorded_exchanges_are_those_of_the_drivers_account(
    protocol: WireProtocol, file: Path, classify: Classify, tmp_path: Path
) -> None:
    """Broken: what a real driver and server said is missed, doubled or misread."""
    exchanges = read_all(protocol, recorded(file, tmp_path), classify)
    account = told(read_account(file.with_name(file.name.replace(".pcap.gz", ".jsonl")).read_text()))
    exchanges = [each for each in exchanges if each.operation != "SEND_LONG_DATA"]
    assert found(exchanges, account) == account
    assert all(each.complete for each in exchanges if each.status)
    assert "s3cr3t" not in repr([each.operation for each in exchanges])
