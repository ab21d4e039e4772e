"""Telemetry added up, as JSON and as a table."""

import io
import json
import re

import pytest
from rich.console import Console

from rover_core.flows import TelemetryMerger, json_lines
from rover_core.flowtable import notes, number_text, print_flows, size_text
from rover_core.model import (
    Completeness,
    Distribution,
    Figure,
    Flow,
    FlowKey,
    Histogram,
    Loss,
    Operation,
    OperationKey,
    Peer,
    ProcessKey,
    Telemetry,
)
from rover_core.testing import make_telemetry

SHOP = ProcessKey(10, 1)
FAR = Peer(address="10.0.0.9", port=80)
BOUNDS = (0.0, 10.0)


def flow(sent: int = 100, peer: Peer = FAR, name: str = "shop", **counts: int) -> Flow:
    write = Figure(2, sent, 1, 40, Histogram(BOUNDS, (0, 1)))
    return Flow(FlowKey(SHOP, name, "client", "tcp", peer), "10.0.0.9:80", 1, {"write": write}, counts)


def telemetry(*flows: Flow, **fields: object) -> Telemetry:
    return make_telemetry(**{"flows": flows, "completeness": Completeness(5, 4, {Loss.MAP_FULL: 1}), **fields})


def table(shown: Telemetry, width: int = 140) -> str:
    out = io.StringIO()
    print_flows(shown, Console(file=out, width=width))
    return out.getvalue()


def test_flows_of_one_key_add_up() -> None:
    """Broken: a whole task's figures are those of its last two seconds."""
    merger = TelemetryMerger()
    merger.add(telemetry(flow(), start_ns=5))
    merger.add(telemetry(flow(retransmits=3), flow(7, Peer(address="10.0.0.8")), start_ns=9))
    whole = merger.result()
    assert whole is not None
    heavy, light = whole.flows
    assert heavy.figures["write"] == Figure(4, 200, 2, 80, Histogram(BOUNDS, (0, 2)))
    assert heavy.counts == {"retransmits": 3}
    assert light.figures["write"].bytes == 7
    assert (whole.start_ns, whole.completeness) == (5, Completeness(10, 8, {Loss.MAP_FULL: 2}))


def test_memory_is_bounded() -> None:
    """Broken: a server that is profiled for days keeps every client it ever had."""
    merger = TelemetryMerger(room=10)
    merger.add(telemetry(*(flow(sent, Peer(address=str(sent))) for sent in range(11))))
    whole = merger.result()
    assert whole is not None
    assert [each.key.peer.address for each in whole.flows] == ["10", "9", "8", "7", "6"]
    assert merger.let_go == 6


def test_nothing_adds_up_to_nothing() -> None:
    """Broken: a task that delivered nothing looks like one that saw nothing."""
    assert TelemetryMerger().result() is None


def test_lines_of_json() -> None:
    """Broken: a script cannot tell who talks to whom, how much, and whether that is all."""
    *flows, interval = [json.loads(line) for line in json_lines(telemetry(flow(), flow(900, Peer(SHOP, "db"))))]
    assert [each["figures"]["write"]["bytes"] for each in flows] == [900, 100]
    assert flows[0]["peer"] == {"label": "db (10)", "local": False, "pid": 10, "process": "db"}
    assert flows[1]["peer"] == {"label": "10.0.0.9:80", "local": False, "address": "10.0.0.9", "port": 80}
    assert flows[1]["figures"]["write"]["histogram"] == {"10": 1}
    assert (interval["type"], interval["kept"], interval["lost"]) == ("interval", 4, {"map full": 1})


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_a_table_fits_its_terminal(width: int) -> None:
    """Broken: a narrow terminal shows wrapped or unreadable rows."""
    shown = table(telemetry(flow(5_000_000, retransmits=3)), width)
    assert all(len(line) <= width for line in shown.splitlines())
    assert "shop" in shown
    assert "KB" in shown or "MB" in shown


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_names_give_way_to_figures(width: int) -> None:
    """Broken: on a terminal of 80 columns a long name cuts `850 ms` down to `85`, or leaves figures out."""
    name, durations = "GET /" + "debian/" * 20, Distribution(1000, 1, Histogram((0.0, 850e6, 852e6), (0, 1000, 0)))
    key = OperationKey(flow(name="python3.11 -m server").key, "http1", "GET", name)
    asked = Operation(key, "http", "", 1000, 1000, 1000, {"500": 1000}, durations, durations, durations, {})
    far = Peer(address="2001:db8:85a3:8d3:1319:8a2e:370:7348", port=44321)
    shown = table(
        telemetry(flow(5_000_000, far, "python3.11", errors=7), start_ns=0, end_ns=10**9, operations=(asked,)), width
    )
    assert all(len(line) <= width for line in shown.splitlines())
    assert all(text in shown for text in ("1,000", "100.0%", "851 ms", "852 ms", "4.77 MB"))
    assert bool(re.search(r"\bErr\b", shown)) == (width >= 70)


def test_names_do_nothing_to_a_terminal() -> None:
    """Broken: a process of a hostile name writes to the terminal of whoever profiles it."""
    shown = table(telemetry(flow(name="\x1b[31m[bold]x", peer=Peer(SHOP, "\x1b]0;y\x07"))))
    assert "\x1b" not in shown
    assert "[bold]x" in shown


def test_what_limits_the_figures_is_said() -> None:
    """Broken: a metric that could not be measured looks as if nothing had happened."""
    assert notes({"not measured": "dropped packets: no such file", "probe": "x"}) == [
        "not measured here dropped packets: no such file"
    ]
    assert "No traffic" in table(telemetry())


@pytest.mark.parametrize(
    ("amount", "text"), [(0, ""), (812.4, "812 B"), (1536, "1.5 KB"), (1023 * 1024, "0.999 MB"), (3 << 40, "3 TB")]
)
def test_sizes_in_three_digits(amount: float, text: str) -> None:
    """Broken: rates are unreadable, or a unit off."""
    assert size_text(amount) == text


def test_numbers() -> None:
    """Broken: rare calls are rounded to none."""
    assert [number_text(amount) for amount in (0, 0.5, 12.3, 145_012.2)] == ["0", "0.5", "12", "145,012"]


def operation(name: str = "GET /a", peer: Peer = FAR, exchanges: int = 4) -> Operation:
    durations = Distribution(exchanges, 20 * exchanges, Histogram((0.0, 10.0, 30.0), (0, exchanges, 0)))
    key = OperationKey(FlowKey(SHOP, "shop", "client", "tcp", peer), "http1", "GET", name)
    nothing = Distribution()
    return Operation(key, "http", "", exchanges, exchanges, 1, {"200": exchanges}, durations, nothing, nothing)


def test_operations_of_one_key_add_up() -> None:
    """Broken: requests of one interval hide those of the one before, or operations without number fill the memory."""
    merger = TelemetryMerger(room=2)
    merger.add(telemetry(operations=(operation(),), steps={"exchanges": 4}))
    merger.add(telemetry(operations=(operation(), operation("GET /b"), operation("GET /c")), steps={"exchanges": 12}))
    merger.add(telemetry(operations=(operation("GET /d"),)))
    whole = merger.result()
    assert whole is not None
    counts = {each.key.operation: (each.exchanges, each.errors, dict(each.statuses)) for each in whole.operations}
    assert counts == {"GET /a": (8, 2, {"200": 8}), "GET /b": (4, 1, {"200": 4}), "other": (8, 2, {"200": 8})}
    assert whole.operations[0].durations.total == 160
    assert whole.steps == {"exchanges": 16}


def test_an_operation_as_json() -> None:
    """Broken: scripts that read quantiles, statuses or steps find nothing."""
    lines = [json.loads(line) for line in json_lines(telemetry(operations=(operation(),), steps={"calls seen": 9}))]
    (record,) = [line for line in lines if line["type"] == "operation"]
    assert (record["operation"], record["class"], record["protocol"]) == ("GET /a", "GET", "http1")
    assert record["statuses"] == {"200": 4}
    assert record["duration_ns"] == {
        "count": 4,
        "total": 80,
        "mean": 20,
        "p50": 20,
        "p90": 28,
        "p99": 30,
        "histogram": {"10": 4},
    }
    assert lines[-1]["steps"] == {"calls seen": 9}


def test_the_table_of_operations_puts_peers_together() -> None:
    """Broken: a server with a thousand clients has a thousand lines of one operation."""
    shown = table(telemetry(operations=(operation(), operation(peer=Peer(address="10.0.0.8")))))
    (line,) = [line for line in shown.splitlines() if "GET /a" in line]
    assert "25.0%" in line
    assert "shop" in line
