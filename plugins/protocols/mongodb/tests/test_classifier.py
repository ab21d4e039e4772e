"""What the classifier takes for MongoDB; that it takes nothing else is tested for all protocols together."""

import struct

import bson
import pytest
from captures import FOLDER, captured, flows
from classifying import Classify

PING = struct.pack("<I", 0) + b"\0" + bson.encode({"ping": 1, "$db": "admin"})
OK = struct.pack("<I", 0) + b"\0" + bson.encode({"ok": 1.0})
LEGACY = struct.pack("<i", 0) + b"admin.$cmd\0" + struct.pack("<ii", 0, -1) + bson.encode({"isMaster": 1})
REPLY = struct.pack("<iqii", 8, 0, 0, 1) + bson.encode({"ok": 1.0})


def message(answers: int, opcode: int, body: bytes, more: int = 0) -> bytes:
    return struct.pack("<4i", 16 + len(body) + more, 7, answers, opcode) + body


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (message(0, 2013, PING), 1),
        (message(7, 2013, OK), 2),
        (message(0, 2013, b"\2\0\0\0\1\x20\0\0\0documents\0", 100), 1),  # documents before the command
        (message(0, 2004, LEGACY), 1),
        (message(-1, 2004, LEGACY), 1),  # of old drivers
        (message(7, 1, REPLY), 2),
        (message(0, 1, REPLY), 2),  # to a request whose id was 0
        (message(7, 1, struct.pack("<iqii", 8, 0, 0, 0)), 2),
        (message(0, 2007, struct.pack("<iiq", 0, 1, 4711)), 1),
        (message(0, 2012, struct.pack("<iib", 2013, 40, 1) + b"snappy"), 1),
        (message(7, 2012, struct.pack("<iib", 2013, 40, 3) + b"zstd!!"), 2),
        (message(0, 2012, struct.pack("<iib", 1, 40, 1) + b"snappy"), 2),
        (message(0, 2012, struct.pack("<iib", 2269, 40, 1) + b"snappy"), 0),
        (message(0, 2012, struct.pack("<iib", 2013, 40, 4) + b"what's"), 0),
        (message(0, 2013, PING, 1 << 30), 0),
        (message(0, 2269, PING), 0),
        (message(0, 2013, b"\4" + PING[1:]), 0),  # a flag that must be understood and is not
        (message(7, 2004, LEGACY), 0),
        (message(0, 2013, PING)[:20], 0),
        (PING, 0),
        (b"", 0),
    ],
)
def test_verdicts(classify: Classify, data: bytes, verdict: int) -> None:
    """Broken: MongoDB connections are missed, or others are read as MongoDB."""
    assert classify(data) == verdict


def test_real_messages_are_recognised(classify: Classify) -> None:
    """Broken: real servers' and drivers' messages are missed, or taken for the other direction's."""
    if not FOLDER.exists():
        pytest.skip(f"there is no {FOLDER}")
    seen = 0
    for capture in captured("mongo"):
        kinds = {(each["stream"], each["frame"]): each["kind"] for each in capture.messages if "segments" not in each}
        for flow in flows(capture.file):
            for piece in flow.pieces:
                if kind := kinds.get((flow.index, piece.frame)):
                    seen += 1
                    assert classify(piece.data) == (1 if kind == "request" else 2), (capture.name, piece.frame)
    assert seen > 250
