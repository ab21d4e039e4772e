"""What the classifier takes for MySQL; that it takes nothing else is tested for all protocols together."""

import pytest
from captures import FOLDER, captured, flows
from classifying import Classify
from mysql_packets import compressed, error, execute, greeting, login, ok, query, result_set, text

STATEMENT = query("SELECT 1 FROM t")


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (STATEMENT, 1),
        (STATEMENT[4:], 1),  # behind a header that was read alone
        (query("insert into t values (1)"), 1),
        (query("\0\1SELECT 1"), 1),  # with a list of attributes that is empty
        (query("COMMIT"), 1),
        (execute(7), 1),
        (login(), 1),
        (login(sequence=2), 1),  # inside TLS
        (compressed(0, STATEMENT, squeeze=False), 1),
        (greeting(), 2),
        (error(1064, "42000"), 2),
        (result_set(text("a")), 2),
        (b"", 0),
        (STATEMENT[:6], 0),
        (query("selection of words"), 0),
        (query("hello"), 0),
        (ok(), 0),  # so short that others may say it
        (b"SELECT 1", 0),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03set ", 0),  # TLS
    ],
)
def test_verdicts(classify: Classify, data: bytes, verdict: int) -> None:
    """Broken: MySQL's connections are missed, or others are read as MySQL."""
    assert classify(data) == verdict


def test_real_connections_are_recognised(classify: Classify) -> None:
    """Broken: real servers' and clients' connections are missed, or their directions exchanged."""
    if not FOLDER.exists():
        pytest.skip(f"there is no {FOLDER}")
    for capture in captured("mysql"):
        for flow in flows(capture.file):
            theirs = [each for each in capture.messages if each["stream"] == flow.index]
            verdicts = [(classify(piece.data), piece.direction) for piece in flow.pieces]
            found = [verdict == (1 if direction == 0 else 2) for verdict, direction in verdicts if verdict]
            clients = {each["src"] if each["kind"] == "request" else each["dst"] for each in theirs}
            if "Host '" in str(theirs):
                continue  # an error before any login has no SQLSTATE, and nothing follows it
            assert not theirs or found, (capture.name, flow.index)
            assert len(set(found)) < 2, (capture.name, flow.index)
            assert not theirs or clients == {flow.client if found[0] else flow.server}, (capture.name, flow.index)
