"""What workers have read of a connection whose row has not been taken from the kernel yet."""

from pathlib import Path

import pytest

from rover_core.api import WireProtocol
from rover_core.model import FlowKey, Peer, ProcessKey
from rover_core.wire import Capture, CaptureMode, Connection, Exchange, Message
from rover_network.intervals import Interval
from rover_network.operations import Line, put_together

PROTOCOLS = [WireProtocol("http1", "http", Path(), Capture(CaptureMode.ALL), Connection)]
PLACE = (7, 4711, 0, 1, 1)
LINE = Line(
    FlowKey(ProcessKey(4711, 1), "shop", "client", "tcp", Peer(address="10.0.0.1", port=80)), "10.0.0.1:80", False
)


@pytest.fixture
def report() -> dict[str, object]:
    interval = Interval(10)
    interval.sums(
        PLACE, Exchange("GET", "GET /", "200", False, Message(1, 2, 30, True, None), Message(3, 4, 90, True, None))
    )
    return {"rows": interval.take(), "losses": [], "steps": {}}


def test_it_comes_with_the_next_time(report: dict[str, object]) -> None:
    """Broken: an exchange is lost whose connection began while the kernel's rows were taken."""
    first = put_together([report], PROTOCOLS, {}.get)
    assert (first.operations, first.homeless, first.steps["exchanges"]) == ([], 0, 0)
    second = put_together([], PROTOCOLS, {PLACE[:3]: LINE}.get, first.waiting)
    assert [(each.key.operation, each.exchanges) for each in second.operations] == [("GET /", 1)]
    assert (second.waiting, second.homeless, second.steps["exchanges"]) == ([], 0, 1)


def test_what_stays_unknown_is_lost_and_counted(report: dict[str, object]) -> None:
    """Broken: exchanges of connections that nobody knows are kept for ever, or vanish."""
    first = put_together([report], PROTOCOLS, {}.get)
    second = put_together([], PROTOCOLS, {}.get, first.waiting)
    assert (second.operations, second.waiting, second.homeless, second.steps["exchanges"]) == ([], [], 1, 1)
