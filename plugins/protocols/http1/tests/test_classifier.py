"""What the classifier takes for HTTP/1.x; that it takes nothing else is tested for all protocols together."""

import pytest
from captures import FOLDER, captured, flows
from classifying import Classify


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (b"GET / HTTP/1.1\r\n", 1),
        (b"GET /", 1),
        (b"OPTIONS * HTTP/1.1\r\n", 1),
        (b"POST http://host/path HTTP/1.1\r\n", 1),
        (b"CONNECT example.org:443 HTTP/1.1\r\n", 1),
        (b"PROPPATCH /dav HTTP/1.1\r\n", 1),
        (b"HTTP/1.0 200 OK\r\n", 2),
        (b"HTTP/1.1 404\r\n", 2),
        (b"GET", 0),
        (b"GET ", 0),
        (b"HTTP/1.1 20", 0),
        (b"HTTP/2.0 200 OK\r\n", 0),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0),  # HTTP/2
        (b"OPTIONS sip:a@b SIP/2.0\r\n", 0),
        (b"OPTIONS rtsp://host/stream RTSP/1.0\r\n", 0),
        (b"GET key\r\n", 0),  # Redis, inline
        (b"get key\r\n", 0),  # memcached
        (b"CWD /pub\r\n", 0),  # FTP
        (b"MOVE_IT /\r\n", 0),
    ],
)
def test_verdicts(classify: Classify, data: bytes, verdict: int) -> None:
    """Broken: HTTP connections are missed, or others are read as HTTP."""
    assert classify(data) == verdict


def test_real_connections_are_recognised_in_their_first_packets(classify: Classify) -> None:
    """Broken: real servers' and clients' connections are missed, or their directions exchanged."""
    plain = [each for each in captured("http") if "keylog" not in each.about]
    if not plain:
        pytest.skip(f"there is no {FOLDER}")
    for capture in plain:
        for flow in flows(capture.file):
            theirs = [each for each in capture.messages if (each["proto"], each["stream"]) == ("http", flow.index)]
            if theirs and (client := next((each["src"] for each in theirs if each["kind"] == "request"), None)):
                firsts = [
                    next((p.data for p in flow.pieces if p.direction == side and p.data), b"") for side in (0, 1)
                ]
                verdicts = [classify(first) for first in (firsts if client == flow.client else firsts[::-1])]
                assert verdicts[0] in (0, 1), (capture.name, flow.index)
                assert verdicts[1] in (0, 2), (capture.name, flow.index)
                assert any(verdicts), (capture.name, flow.index)
