"""Recorded traffic against what dig said of it."""

import json
from pathlib import Path

from captures import recorded
from classifying import Classify
from reading import read_all

from rover_core.api import WireProtocol

CAPTURE = Path(__file__).parent / "captures" / "dnsmasq.pcap.gz"


def test_recorded_exchanges_are_those_that_dig_printed(
    protocol: WireProtocol, classify: Classify, tmp_path: Path
) -> None:
    """Broken: what a real resolver asked and was told is missed, doubled or misread."""
    exchanges = read_all(protocol, recorded(CAPTURE, tmp_path), classify)
    told = [json.loads(line) for line in CAPTURE.with_name("dnsmasq.jsonl").read_text().splitlines()]
    truncated = {metric.name: metric.value for metric in protocol.metrics}["truncated"]
    mine, cut = [], []
    for each in exchanges:
        assert each.request
        question = each.request.detail.questions[0].name
        (cut if truncated(each) else mine).append(
            (each.request.detail.id, f"{each.operation_class} {question}", each.status)
        )
    assert sorted(mine + cut[:1]) == sorted(map(tuple, told))
    assert [name for _, name, _ in cut] == ["TXT big.shop.test"] * 2
    assert len(told) == 27
