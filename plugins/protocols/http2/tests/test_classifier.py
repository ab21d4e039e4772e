"""What the classifier takes for HTTP/2; that it takes nothing else is tested for all protocols together."""

import ctypes
import subprocess
from pathlib import Path

import pytest
from captures import FOLDER, captured, flows
from classifying import Classify
from http2_frames import ACK, DATA, END_HEADERS, PING, PREFACE, SETTINGS, WINDOW_UPDATE, Side, frame, reset, settings

from rover_core.api import WireProtocol

GET = Side().get(1, "/page")
OK = Side().answer(1, 200)
WINDOW = frame(WINDOW_UPDATE, 0, 0, b"\0\0\1\0")


@pytest.mark.parametrize(
    ("data", "verdict"),
    [
        (PREFACE, 1),
        (PREFACE + settings((3, 100)), 1),
        (PREFACE[:23], 0),
        (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", 0),
        (settings((3, 100), (4, 65535)), 0),  # anybody's
        (settings((3, 100), (4, 65535)) + OK, 2),
        (settings((77, 1)) + OK, 0),
        (settings() + OK, 2),
        (GET, 1),
        (OK, 2),
        (Side().answer(1, 404, b"x"), 2),
        (WINDOW + GET, 1),
        (WINDOW + WINDOW + OK, 2),
        (frame(SETTINGS, ACK, 0) + GET, 1),
        (frame(PING, ACK, 0, b"12345678") + OK, 2),
        (GET[:9], 0),
        (frame(DATA, 0, 1, b"x" * 50), 0),  # somebody's, of whichever side
        (frame(1, END_HEADERS, 1, b"\xbe"), 0),  # of the dynamic table
        (frame(1, END_HEADERS, 3, b"\xc1\x82\xc0\x87"), 1),  # Go's: first the authority, as said before
        (frame(1, END_HEADERS, 3, b"\x3f\xe1\x1f\xc1\x82\xc0\x87"), 1),  # behind the size of its table
        (frame(1, END_HEADERS, 3, b"\xff\x05\xc0\x83"), 1),
        (frame(1, END_HEADERS, 3, b"\xbf\xbe\xc0\xc1\x82"), 0),  # a request has no four in front of its method
        (frame(1, END_HEADERS, 3, b"\xbe\x88"), 0),  # no status comes second
        (frame(1, END_HEADERS, 3, b"\x20\x88"), 2),
        (frame(1, END_HEADERS, 3, b"\xbe\x5f\x03abc"), 0),  # a response of a status said before, or a trailer
        (reset(1, 8) + GET, 1),
        (reset(1, 99) + GET, 0),
        (frame(1, END_HEADERS, 2, b"\x82"), 0),  # nobody asks on a stream of the server
        (frame(1, 0x84, 1, b"\x82"), 0),  # no such flag
        (reset(1, 8), 0),
        (b"", 0),
    ],
)
def test_verdicts(classify: Classify, data: bytes, verdict: int) -> None:
    """Broken: HTTP/2 connections are missed, or taken for the other direction's."""
    assert classify(data) == verdict


def test_real_connections_are_recognised_within_their_first_calls(classify: Classify) -> None:
    """Broken: real clients' and servers' connections are missed, or read with the sides exchanged."""
    if not FOLDER.exists():
        pytest.skip(f"there is no {FOLDER}")
    seen = 0
    for capture in captured("http2"):
        told = {
            (each["stream"], each["frame"]): each["kind"] for each in capture.messages if each["proto"] == "http2"
        }
        for flow in flows(capture.file):
            verdicts = [(classify(piece.data), told.get((flow.index, piece.frame))) for piece in flow.pieces]
            wrong = [each for each in verdicts if each in ((1, "response"), (2, "request"))]
            assert not wrong, capture.name
            seen += any(verdict for verdict, _ in verdicts)
    assert seen == 12


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (PREFACE, (24, 0)),
        (GET, (len(GET), 0)),
        (frame(DATA, 1, 3, b"x" * 70_000), (9, 70_000)),
        (frame(DATA, 0, 0, b"x"), None),
        (settings((1, 0)), (15, 0)),
        (b"HTTP/1.1 200 OK", None),
        (b"\xff" * 9, None),
    ],
)
def test_which_bytes_are_wanted(
    protocol: WireProtocol, tmp_path: Path, data: bytes, wanted: tuple[int, int] | None
) -> None:
    """Broken: header blocks are left out in the kernel, or bodies are shipped."""
    source = tmp_path / "select.c"
    source.write_text(
        f'#include "{protocol.selector}"\n'
        "int ask(const unsigned char *head, unsigned long long *ship, unsigned long long *skip)\n"
        "{ return http2_select(head, ship, skip); }\n"
    )
    library = source.with_suffix(".so")
    command = ["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(library), str(source)]
    subprocess.run(command, check=True, timeout=60)
    ship, skip = ctypes.c_ulonglong(), ctypes.c_ulonglong()
    said = ctypes.CDLL(str(library)).ask(data[:9], ctypes.byref(ship), ctypes.byref(skip))
    assert ((ship.value, skip.value) if said else None) == wanted
