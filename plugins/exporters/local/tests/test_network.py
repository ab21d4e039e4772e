"""The page of a network task: right in its numbers, safe against names, and readable when it is full."""

import asyncio
import io
import json
import re
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from pages import CHROMIUM, HOSTILE, Elements, data_of, in_browser

from rover_core.api import AgentContext
from rover_core.flowtable import NOTES
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
from rover_exporter_local.exporter import LocalExporter
from rover_exporter_local.flowpacking import unpack
from rover_exporter_local.formats import TELEMETRY_FORMATS
from rover_exporter_local.settings import LocalSettings
from rover_exporter_local.store import Store
from rover_exporter_local.topology.graph import Kind, make_graph
from rover_exporter_local.topology.grouping import grouped
from rover_exporter_local.topology.layout import place

WEB, SHOP = (ProcessKey(10, 70), "nginx"), (ProcessKey(11, 77), "shop")
BOUNDS = (0.0, 10e3, 50e3, 100e3)


def figure(calls: int, amount: int = 0) -> Figure:
    return Figure(calls, amount, calls, calls * 20_000, Histogram(BOUNDS, (0, calls, 0, 0)))


def flow(me: tuple[ProcessKey, str], role: str, peer: Peer, sent: int, received: int) -> Flow:
    figures = {"write": figure(4, sent), "read": figure(6, received), "write_rtt": figure(4)}
    return Flow(FlowKey(*me, role, "tcp", peer), "", 2, figures, {"retransmits": 1})


def operation(
    me: tuple[ProcessKey, str], role: str, name: str, exchanges: int, errors: int = 0, peer: str = "10.0.0.9"
) -> Operation:
    """Nine tenths of the exchanges take up to 50 us, the others up to 100 us."""
    key = OperationKey(FlowKey(*me, role, "tcp", Peer(address=peer)), "http1", name.partition(" ")[0], name)
    slow = exchanges // 10
    durations = Distribution(exchanges, exchanges * 20_000, Histogram(BOUNDS, (0, exchanges - slow, slow, 0)))
    sizes, statuses = Distribution(exchanges, 7 * exchanges), {"200": exchanges - errors, "500": errors}
    metrics = {"waited": Distribution(1, 5)}
    return Operation(
        key, "http", f"{peer}:80", exchanges, exchanges, errors, statuses, durations, sizes, sizes, metrics
    )


def telemetry(*flows: Flow, **fields: Any) -> Telemetry:
    fields = {"completeness": Completeness(40, 38, {Loss.MAP_FULL: 2}), "attributes": {"host": "web-1"}, **fields}
    return make_telemetry(flows=flows, profiler="NETWORK", **fields)


@pytest.fixture
def pair() -> Telemetry:
    """nginx, which a remote end asks, asks shop, and both tell of it."""
    return telemetry(
        flow(WEB, "client", Peer(*SHOP, local=True), 1000, 5000),
        flow(SHOP, "server", Peer(*WEB, local=True), 5000, 900),
        flow(WEB, "server", Peer(address="2001:db8::1"), 7000, 300),
    )


def busy(processes: int, ends: int) -> Telemetry:
    """Each process asks the next but one, each end asks or is asked; all of different weight."""
    known = [(ProcessKey(100 + n, n), f"service{n % 9}") for n in range(processes)]
    flows = [flow(me, "client", Peer(*known[(n + 2) % processes]), n * 10, n) for n, me in enumerate(known)]
    for n in range(ends):
        peer = Peer(address=f"10.0.{n // 256}.{n % 256}", port=(443, 53, 0)[n % 3])
        flows.append(flow(known[n * 7 % processes], "server" if n % 3 == 2 else "client", peer, n * 100, n))
    return telemetry(*flows)


def page_of(seen: Telemetry) -> str:
    out = io.BytesIO()
    TELEMETRY_FORMATS["html"].write_telemetry(seen, out)
    return out.getvalue().decode()


def test_what_both_ends_tell_counts_once(pair: Telemetry) -> None:
    """Broken: the throughput between two watched processes is doubled, or an edge is drawn for each end."""
    data = data_of(page_of(pair))
    names = [node["name"] for node in data["nodes"]]
    assert sorted(names) == ["2001:db8::1", "nginx", "shop"]
    edges = {(names[edge["client"]], names[edge["server"]]): edge for edge in data["edges"]}
    assert set(edges) == {("nginx", "shop"), ("2001:db8::1", "nginx")}
    inner = edges["nginx", "shop"]
    assert (inner["toServer"], inner["toClient"], inner["connections"]) == (1000, 5000, 2)
    assert inner["figures"]["write_rtt"] == {"calls": 8, "timed": 8, "ns": 160_000, "first": 1, "counts": [8]}
    assert inner["counts"] == {"retransmits": 2}
    outer = edges["2001:db8::1", "nginx"]
    assert (outer["toServer"], outer["toClient"]) == (300, 7000)
    assert data["bounds"]["write"] == list(BOUNDS)
    columns = {node["name"]: node["column"] for node in data["nodes"]}
    assert columns == {"2001:db8::1": 0, "nginx": 1, "shop": 2}, "who asks stands left of who answers"


def test_what_limits_the_figures_is_said_once(pair: Telemetry) -> None:
    """Broken: the head of a page repeats, as a fact of the profile, what the sentences below it say."""
    said = {name: f"{name} for a reason" for name in NOTES}
    page = page_of(replace(pair, attributes=pair.attributes | said))
    assert [page.count(reason) for reason in said.values()] == [1] * len(NOTES)


def test_page_says_what_it_shows(pair: Telemetry) -> None:
    """Broken: nobody can tell which host, when, and how complete."""
    page = page_of(telemetry(*pair.flows, attributes={"host": "web-1", "io_uring": "4711"}))
    for words in ("NETWORK on web-1", "task task", "5 s", "95.0 % of 40 events kept; lost: 2 map full", "pid 4711"):
        assert words in page


def test_operations_are_there_whoever_asked(pair: Telemetry) -> None:
    """Broken: the page has no operations, one for each client, or not the most frequent of too many."""
    asked = [operation(WEB, "server", "GET /a", 40, 1, "10.0.0.1"), operation(WEB, "server", "GET /a", 60, 1)]
    asked.append(replace(operation(SHOP, "client", "", 7), durations=Distribution()))
    first, last = data_of(page_of(replace(pair, operations=tuple(asked))))["operations"]
    assert first == {
        "process": "nginx (10)",
        "role": "server",
        "protocol": "http1",
        "operation": "GET /a",
        "exchanges": 100,
        "errors": 0.02,
        "p50": 32222,
        "p90": 50000,
        "p99": 95000,
    }
    assert (last["operation"], last["exchanges"], last["p50"], last["p99"]) == ("unknown", 7, None, None)
    data = data_of(
        page_of(telemetry(operations=tuple(operation(WEB, "server", f"GET /{n}", n + 1) for n in range(1500))))
    )
    assert [data["allOperations"], len(data["operations"]), data["operations"][0]["exchanges"]] == [1500, 1000, 1500]


def test_hostile_names_stay_data(pair: Telemetry) -> None:
    """Broken: a process's name, or a task's, runs as script in the reader's browser."""
    evil = (ProcessKey(9, 9), HOSTILE)
    flows = [flow(evil, HOSTILE, Peer(address=HOSTILE), 1, 1), flow(WEB, "client", Peer(*evil), 1, 1)]
    said = dict.fromkeys(("host", "probe", "io_uring", HOSTILE), HOSTILE)
    asked = (operation(evil, HOSTILE, HOSTILE, 3),)
    page = page_of(telemetry(*flows, task_id=HOSTILE, attributes=said, operations=asked, steps={HOSTILE: 1}))
    elements = Elements(page)
    assert [tag for tag, _ in elements.tags].count("script") == 2
    assert not any(tag == "img" for tag, _ in elements.tags)
    assert not any(name.startswith("on") or name == "src" for _, held in elements.tags for name in held)
    assert HOSTILE in json.dumps(data_of(page))


def test_equal_telemetry_makes_equal_pages() -> None:
    """Broken: two pages cannot be compared; the layout depends on chance."""
    assert page_of(busy(50, 50)) == page_of(busy(50, 50))


@pytest.mark.parametrize(("processes", "ends"), [(80, 120), (3, 3000), (2000, 10)])
def test_much_is_grouped_and_nothing_lost(processes: int, ends: int) -> None:
    """Broken: a busy host's page is a hairball, boxes lie on each other, or groups swallow traffic."""
    whole = make_graph(busy(processes, ends).flows)
    drawn = grouped(whole)
    assert len(drawn.nodes) <= 90 + 60 + 3 * 11
    assert sum(len(node.within) or 1 for node in drawn.nodes) == len(whole.nodes) == processes + ends
    for value in ("to_server", "to_client", "calls", "connections"):
        assert sum(getattr(edge, value) for edge in drawn.edges) == sum(getattr(edge, value) for edge in whole.edges)
    places = place(drawn)
    assert len(set(places)) == len(drawn.nodes)
    for node, (column, _) in zip(drawn.nodes, places, strict=True):
        assert node.kind == Kind.PROCESS or column in (0, max(column for column, _ in places))
    size = len(page_of(busy(processes, ends)))
    assert size < 1_500_000


def test_small_processes_are_grouped_by_what_their_names_have_in_common() -> None:
    """Broken: of many that are numbered, as replicas are, the page says only that there are others."""
    database = (ProcessKey(1, 1), "db")
    clients = [(ProcessKey(n, n), f"{'web' if n % 2 else 'worker'}-{n}") for n in range(10, 50)]
    drawn = grouped(make_graph(flow(me, "client", Peer(*database), 1, 1) for me in clients), processes=1)
    assert sorted((node.name, len(node.within)) for node in drawn.nodes) == [("db", 0), ("web…", 20), ("worker…", 20)]


def test_circles_end() -> None:
    """Broken: processes that ask each other in a circle are laid out for ever, or all in one column."""
    known = [(ProcessKey(n, n), f"p{n}") for n in range(1, 5)]
    ring = [flow(me, "client", Peer(*known[(n + 1) % 4]), 10 - n, 0) for n, me in enumerate(known)]
    own = flow(known[0], "client", Peer(*known[0]), 1, 1)
    columns = [column for column, _ in place(make_graph([*ring, own]))]
    assert columns == [0, 1, 2, 3]


LONG_NAME = "GET /service199/" + "x" * 184


def many_operations() -> Telemetry:
    """Operations alone, 200 of them, each of which has a name as long as they get."""
    names = [f"GET /service{n}/".ljust(200, "x") for n in range(200)]
    return telemetry(operations=tuple(operation(WEB, "server", name, 100, 5) for name in names))


SHOWN: list[tuple[str, Callable[[], Telemetry] | None, list[str]]] = [
    ("", None, ["<h2>All traffic</h2>", "3 boxes, 2 pairs", "<h3>Round-trip time</h3>", "20.0 µs on average"]),
    ("select=n0", None, ["<h2>nginx (10)</h2>", "<dd>1.56 KiB/s</dd>"]),
    ("select=e0", None, ["<h2>nginx (10) → shop (11)</h2>", "<dd>200 bytes/s</dd>", "<dd>1000 bytes/s</dd>"]),
    ("search=2001:db8", None, [">1 of 3 boxes<", 'class="process dim"']),
    ("search=/(/", None, ['aria-invalid="true"']),
    (
        "view=table&search=shop",
        None,
        [">1 of 2 pairs<", 'title="nginx (10)">nginx (10)</td>', 'title="shop (11)">shop (11)</td>'],
    ),
    (
        "view=operations&search=/service199",
        lambda: many_operations(),
        [
            ">1 of 200 operations<",
            f'title="{LONG_NAME}">{LONG_NAME}</td>',
            ">20.0/s<",
            ">5.0 %<",
            ">50.0 µs<",
            ">95.0 µs<",
        ],
    ),
    (
        "view=operations",
        None,
        ['aria-controls="operations" hidden=""', "<h2>All traffic</h2>"],
    ),
    (
        "",
        lambda: telemetry(flow(WEB, "client", Peer(address="::1"), 30, 0), start_ns=0, end_ns=80 * 10**9),
        ["<dd>&lt; 1 byte/s</dd>", "<dd>0 bytes/s</dd>"],
    ),
    ("select=n999", telemetry, ['<p class="empty">No traffic']),
    ("", lambda: busy(80, 120), ["KiB/s · 20.0 µs</text>"]),
]


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize(("address", "other", "expected"), SHOWN)
def test_page_works_in_a_browser(  # type: ignore[no-untyped-def]
    pair: Telemetry, tmp_path: Path, address: str, other, expected: list[str]
) -> None:
    """Broken: the script fails, shows other figures, or an address sent to a colleague shows something else."""
    shown = in_browser(page_of(other() if other else pair), address, tmp_path)
    for words in expected:
        assert words in shown


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_labels_do_not_overlap(tmp_path: Path) -> None:
    """Broken: with 200 ends the throughput of one line is written over that of another."""
    shown = in_browser(page_of(busy(80, 120)), "", tmp_path)
    pattern = r'<rect x="([-\d.]+)" y="([-\d.]+)" width="([\d.]+)" height="([\d.]+)"'
    boxes = [tuple(map(float, found)) for found in re.findall(pattern, shown)]
    assert len(boxes) > 10
    for n, (x, y, width, height) in enumerate(boxes):
        for left, top, wide, high in boxes[:n]:
            assert x >= left + wide or left >= x + width or y >= top + high or top >= y + height


def crossing() -> Telemetry:
    """Three columns of processes; those on the left also ask an end far right, and the last one asks back."""
    known = [(ProcessKey(n, n), f"p{n}") for n in range(1, 10)]
    pairs = [(a, b) for a in range(3) for b in range(3, 6)] + [(a, b) for a in range(3, 6) for b in range(6, 9)]
    asked = [flow(known[a], "client", Peer(*known[b]), 1000, 10) for a, b in [*pairs, (0, 6), (2, 8)]]
    far = [flow(me, "client", Peer(address="::1", port=80), 1, 1) for me in known[:3]]
    return telemetry(*asked, *far, flow(known[8], "client", Peer(*known[0]), 1, 1))


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("make", [crossing, lambda: busy(80, 120)])
def test_no_line_runs_beneath_a_box(make: Callable[[], Telemetry], tmp_path: Path) -> None:
    """Broken: a line that only passes by seems to end at a process that has no part in it."""
    shown = in_browser(page_of(make()), "", tmp_path)
    style = r'style="left: ([\d.]+)px; top: ([\d.]+)px; max-width: [\d.]+px; width: ([\d.]+)px;"'
    boxes = [tuple(map(float, found)) for found in re.findall(style, shown)]
    lines = re.findall(r'<path [^>]*class="hit"[^>]* d="M([^"]+)"', shown)
    assert len(boxes) > 9
    assert len(lines) > 18
    for line in lines:
        x0, y0, *numbers = map(float, re.findall(r"[-\d.]+", line))
        for x1, y1, x2, y2, x3, y3 in zip(*[iter(numbers)] * 6, strict=True):
            for t in (n / 40 for n in range(1, 40)):
                x, y = (
                    (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t * t * c + t**3 * d
                    for a, b, c, d in ((x0, x1, x2, x3), (y0, y1, y2, y3))
                )
                assert not any(left < x < left + width and top < y < top + 24 for left, top, width in boxes), line
            x0, y0 = x3, y3


def odd_flows() -> tuple[Flow, ...]:
    """Names that are no text, an address without a process, a figure without a histogram."""
    key = FlowKey(ProcessKey(7, 8), f"\udcff{HOSTILE}", "client", "unix", Peer(address="", local=True))
    return (Flow(key, "/run/\udcff", 1, {"read": Figure(3, 5)}, {"errors": 2}),)


def test_flows_survive_the_store(pair: Telemetry, tmp_path: Path) -> None:
    """Broken: `rover history` shows other flows than were seen, or not the sum of all intervals."""
    asked = operation(WEB, "server", "GET /a", 40, 1), replace(operation(WEB, "client", "GET /b", 10), ssl=True)
    steps = {"calls seen": 7, "exchanges": 50}
    spoken = tuple(replace(each, protocol="http", ssl=each is pair.flows[0]) for each in pair.flows)
    assert sum(each.ssl for each in spoken) == 1
    first = telemetry(*spoken, *odd_flows(), attributes={"host": "web-1"}, operations=asked, steps=steps)
    end_ns = first.end_ns + 2_000_000_000
    last = replace(first, start_ns=first.end_ns, end_ns=end_ns, attributes={"io_uring": "7"}, last=True)
    store = Store.open(tmp_path / "profiles.db")
    store.add(first)
    store.add(last)
    (task,) = store.tasks()
    assert (task.profiler, task.processes, task.completeness.kept) == ("NETWORK", 3, 76)
    seen = store.load(first.task_id)
    assert isinstance(seen, Telemetry)
    assert (seen.start_ns, seen.end_ns) == (first.start_ns, end_ns)
    assert seen.attributes == {"host": "web-1", "io_uring": "7"}
    assert {flow.key: flow for flow in seen.flows} == {flow.key: flow + flow for flow in first.flows}
    assert {each.key: each for each in seen.operations} == {each.key: each + each for each in asked}
    assert seen.steps == {"calls seen": 14, "exchanges": 100}
    store.close()


def test_what_is_too_old_goes_with_its_processes(pair: Telemetry, tmp_path: Path) -> None:
    """Broken: a store of network tasks grows for ever."""
    path = tmp_path / "profiles.db"
    store = Store.open(path)
    store.add(pair)
    store.close()
    kept = Store.open(path, retention_ns=1)
    assert kept.tasks() == []
    kept.close()
    with closing(sqlite3.connect(path)) as connection:
        for table in ("flows", "talkers", "processes", "tasks"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_nonsense_in_the_store_is_an_error_not_a_crash() -> None:
    """Broken: a damaged value ends in something that nobody expects."""
    for text in (b"[[1]]", b"7", b"{}", b'{"flows": [], "operations": [[1]], "steps": {}}'):
        with pytest.raises(ValueError, match=r"."):
            unpack(zlib.compress(text), telemetry())
    for packed in (b"", b"nonsense"):
        with pytest.raises(ValueError, match=r"."):
            unpack(packed, telemetry())
    assert unpack(zlib.compress(b"[]"), telemetry()).flows == (), "what stores held before operations were kept"


def test_the_exporter_writes_a_network_tasks_page(pair: Telemetry, tmp_path: Path) -> None:
    """Broken: an agent that profiles the network leaves nothing to look at, or profiles' formats fail at it."""

    settings = {"directory": tmp_path, "formats": ("html", "folded"), "retention": "10000d"}

    async def run() -> list[str]:
        exporter = LocalExporter(LocalSettings.model_validate(settings))
        await exporter.start(cast(AgentContext, None))
        await exporter.export(pair)
        await exporter.export(replace(pair, last=True))
        return list(await exporter.stop())

    (line,) = asyncio.run(run())
    assert line.startswith("network graph: ")
    assert line.endswith("-network.html")
    data = data_of(Path(line.removeprefix("network graph: ")).read_text())
    assert sum(edge["calls"] for edge in data["edges"]) == 2 * 30
