"""The dissector that protocols are compared with."""

import shutil
from collections import Counter
from pathlib import Path

import dpkt
import pytest
from dissector import dissected

CAPTURE = Path(__file__).parents[2] / "plugins" / "protocols" / "http2" / "tests" / "captures" / "nginx.pcap"


def shuffled(capture: Path, to: Path) -> int:
    """Each two segments of one direction that follow each other change their places; how many do."""
    with capture.open("rb") as file:
        packets = list(dpkt.pcap.Reader(file))
    swapped, at = 0, 0
    while at + 1 < len(packets):
        first, second = (dpkt.ethernet.Ethernet(raw).data.data for _, raw in packets[at : at + 2])
        if first.data and second.data and (second.sport, second.seq) == (first.sport, first.seq + len(first.data)):
            packets[at], packets[at + 1] = (packets[at][0], packets[at + 1][1]), (packets[at + 1][0], packets[at][1])
            swapped += 1
            at += 1
        at += 1
    with to.open("wb") as file:
        writer = dpkt.pcap.Writer(file, snaplen=1 << 18)
        for time, raw in packets:
            writer.writepkt(raw, time)
    return swapped


@pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed")
def test_segments_that_come_in_another_order_are_read(tmp_path: Path) -> None:
    """Broken: a program that moves to another processor makes the dissector overlook what was on the wire."""
    options = ["-d", "tcp.port==18090,http2", "-Y", "http2", "-T", "fields"]
    options += ["-e", "http2.headers.path", "-e", "http2.headers.status"]

    def told(file: Path) -> Counter[str]:
        return Counter(dissected(file, *options).replace(",", " ").split())

    assert shuffled(CAPTURE, tmp_path / "shuffled.pcap") > 5
    found = told(tmp_path / "shuffled.pcap")
    assert found == told(CAPTURE)
    assert found["200"] == 32
