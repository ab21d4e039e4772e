"""Telemetry on a terminal: who exchanges how much with whom. Floor 1; rich is imported when something is printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from rover_core.flows import traffic
from rover_core.model import Figure, Flow, FlowKey, Operation, Telemetry
from rover_core.showing import duration_text
from rover_core.tables import cut_to_fit, plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_PADDING = (0, 1, 0, 0)  # behind each cell: two characters between columns, with the box's one
_ARROWS = {"client": "→", "server": "←"}
_NOTHING = "No traffic: what was profiled exchanged nothing, or it ended too soon."
NOTES = {
    "not measured": "not measured here",
    "not recognised": "protocols that are not recognised here:",
    "TLS not read": "encrypted connections of these files are not read:",
    "io_uring": "uses io_uring, whose calls are counted without their times: pid",
    "drop reasons": "packets were dropped for",
    "connections forgotten": "connections forgotten for want of room, whose role may be wrong",
}
"""Attributes of telemetry that `notes` makes sentences of, and how these begin."""


def print_flows(telemetry: Telemetry, console: Console | None = None, limit: int = 20) -> None:
    """Print tables of the `limit` flows with most bytes, and of the most frequent operations, and notes on them."""
    from rich.console import Console

    console = console or Console()
    if not telemetry.flows:
        console.print(telemetry.attributes.get("text:nothing", _NOTHING), markup=False, highlight=False)
    else:
        console.print(flow_table(telemetry, console, limit))
    if telemetry.operations:
        console.print(operation_table(telemetry, console, limit))
    for note in notes(telemetry.attributes):
        console.print(plain(note), markup=False, highlight=False, style="yellow")


def notes(attributes: Mapping[str, str]) -> list[str]:
    """Sentences about what limits the figures, or explains them."""
    return [f"{text} {attributes[name]}" for name, text in NOTES.items() if attributes.get(name)]


def flow_table(telemetry: Telemetry, console: Console, limit: int) -> Table:
    """Rates are per second of the telemetry's time. A narrow console gets fewer columns."""
    from rich import box
    from rich.table import Table

    seconds = max((telemetry.end_ns - telemetry.start_ns) / 1e9, 1e-9)
    columns = [column for column in _COLUMNS if console.width >= column.from_width]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=_PADDING)
    table.add_column("Process")
    table.add_column("", no_wrap=True)
    table.add_column("Peer")
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True, min_width=column.width)
    for flow in sorted(telemetry.flows, key=lambda flow: (-traffic(flow), flow.key.process))[:limit]:
        table.add_row(
            *_who(flow.key, console.options.ascii_only), *(column.text(flow, seconds) for column in columns)
        )
    hidden = len(telemetry.flows) - limit
    if hidden > 0:
        table.caption = f"{hidden:,} more"
    return table


def operation_table(telemetry: Telemetry, console: Console, limit: int) -> Table:
    """What each process asks and is asked, whoever the others are: rates, errors, and how long answers took."""
    from rich import box
    from rich.table import Table

    seconds = max((telemetry.end_ns - telemetry.start_ns) / 1e9, 1e-9)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=_PADDING)
    table.add_column("Process")
    table.add_column("", no_wrap=True)
    table.add_column("Operation")
    for title, width in (("Rate/s", 6), ("Errors", 6), ("p50", 6), ("p90", 6), ("p99", 6)):
        table.add_column(title, justify="right", no_wrap=True, min_width=width)
    rows = without_peers(telemetry.operations)
    for each in sorted(rows, key=lambda each: (-each.exchanges, each.key.flow.process))[:limit]:
        who, arrow, _ = _who(each.key.flow, console.options.ascii_only)
        name = cut_to_fit(plain(each.key.operation or f"unknown ({each.key.protocol})"))
        times = (_quantile(each, percent) for percent in (50, 90, 99))
        table.add_row(who, arrow, name, number_text(each.exchanges / seconds), _share(each), *times)
    if len(rows) > limit:
        table.caption = f"{len(rows) - limit:,} more"
    return table


def without_peers(operations: Iterable[Operation]) -> list[Operation]:
    """Those that differ by the other end alone, added up."""
    totals: dict[tuple[object, ...], Operation] = {}
    for each in operations:
        flow = each.key.flow
        place = flow.process, flow.name, flow.role, each.key.protocol, each.key.operation
        known = totals.get(place)
        totals[place] = known + each if known else each
    return list(totals.values())


def _share(operation: Operation) -> str:
    return f"{operation.errors / operation.exchanges:.1%}" if operation.errors else ""


def _quantile(operation: Operation, percent: int) -> str:
    return duration_text(round(operation.durations.quantile(percent / 100))) if operation.durations.count else ""


def _who(key: FlowKey, ascii_only: bool) -> list[Text]:
    # Text, never markup: a process may call itself `[bold]`.
    arrow = "<>"[key.role == "client"] if ascii_only else _ARROWS.get(key.role, "")
    peer = key.peer.label + ("" if key.transport == "tcp" else f" {key.transport}")
    return [cut_to_fit(plain(text)) for text in (f"{key.name} ({key.process.pid})", arrow, peer)]


class _Column(NamedTuple):
    title: str
    width: int
    text: Callable[[Flow, float], str]
    from_width: int = 0
    """Characters of a console from which on there is room for it."""


def _figure(flow: Flow, name: str) -> Figure:
    return flow.figures.get(name, Figure())


def _rate(name: str) -> Callable[[Flow, float], str]:
    return lambda flow, seconds: size_text(_figure(flow, name).bytes / seconds)


def _calls(flow: Flow, seconds: float) -> str:
    return number_text((_figure(flow, "read").calls + _figure(flow, "write").calls) / seconds)


def _time(name: str) -> Callable[[Flow, float], str]:
    return lambda flow, _: duration_text(round(_figure(flow, name).mean_ns)) if _figure(flow, name).timed else ""


def _count(name: str) -> Callable[[Flow, float], str]:
    return lambda flow, _: f"{flow.counts[name]:,}" if flow.counts.get(name) else ""


_COLUMNS = (
    _Column("Conn", 4, lambda flow, _: f"{flow.connections:,}"),
    _Column("Sent/s", 7, _rate("write")),
    _Column("Recv/s", 7, _rate("read")),
    _Column("Calls/s", 7, _calls, 110),
    _Column("Write", 7, _time("write"), 130),
    _Column("Read", 7, _time("read"), 130),
    _Column("RTT", 7, _time("write_rtt"), 70),
    _Column("Retr", 4, _count("retransmits"), 90),
    _Column("Drop", 4, _count("drops"), 90),
    _Column("Err", 3, _count("errors"), 70),
)


def size_text(amount: float) -> str:
    """`812 B`, `1.5 KB`, `2.3 GB` (of 1024); empty for nothing."""
    if amount < 1:
        return ""
    for unit in ("B", "KB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.3g} {unit}" if unit != "B" else f"{amount:.0f} B"
        amount /= 1024
    return f"{amount:.3g} TB"


def number_text(amount: float) -> str:
    """At least one digit, at most one decimal: `0.5`, `12`, `145,012`."""
    return f"{amount:.1f}" if 0 < amount < 10 else f"{amount:,.0f}"
