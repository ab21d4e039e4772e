"""Recorded traffic against the driver's own account of it."""

from dataclasses import replace
from pathlib import Path

import pytest
from accounts import found, read_account, told
from captures import recorded
from classifying import Classify, directed

from rover_core.wire import Exchange, Limits
from rover_cql import plugin
from rover_cql.connection import CqlConnection

RECORDED = sorted((Path(__file__).parent / "captures").glob("*.pcap.gz"))


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.name.partition(".")[0])
def test_exchanges_are_those_of_the_drivers_account(file: Path, classify: Classify, tmp_path: Path) -> None:
    """Broken: what a real driver and server say in that version is missed, doubled or misread."""
    exchanges: list[Exchange] = []
    verdicts = set()
    for flow in recorded(file, tmp_path):
        connection = CqlConnection(Limits())
        for piece in flow.pieces:
            verdicts.add((piece.direction, classify(piece.data)))
            exchanges += connection.feed(piece.direction, piece.data, piece.gap, piece.timestamp_ns)
        exchanges += connection.close()
        assert not connection.losses
    account = read_account(file.with_name(file.name.replace(".pcap.gz", ".jsonl")).read_text())
    assert len(account) > 90
    assert found(exchanges) == told(account)
    assert all(each.complete for each in exchanges if not each.operation.startswith("EVENT"))
    assert verdicts - {(0, 0), (1, 0)} == {(0, 1), (1, 2)}


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.name.partition(".")[0])
def test_no_secret_is_kept(file: Path, tmp_path: Path) -> None:
    """Broken: what was inserted, or asked for, can be read in what Rover keeps or ships."""
    for flow in recorded(file, tmp_path):
        connection = CqlConnection(Limits(content=1 << 16))
        found = [e for p in flow.pieces for e in connection.feed(p.direction, p.data, p.gap, p.timestamp_ns)]
        assert "s3cr3t" not in repr(found)


def test_all_connections_of_the_recorded_captures_are_recognised_from_the_middle(
    classify: Classify, tmp_path: Path
) -> None:
    """Broken: connections that were there before the agent are never read."""
    (protocol,) = plugin.rover_protocols()
    for file in RECORDED:
        for flow in recorded(file, tmp_path):
            late = replace(flow, pieces=flow.pieces[len(flow.pieces) // 2 :])
            if len(late.pieces) < 6:
                continue
            turned = directed(late, classify)
            assert turned is not None
            assert turned.client == flow.client
            connection = protocol.connect(Limits())
            found = [e for p in turned.pieces for e in connection.feed(p.direction, p.data, p.gap, p.timestamp_ns)]
            assert sum(each.complete for each in found) >= 2, (file.name, flow.index)
