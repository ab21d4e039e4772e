"""Telemetry on a terminal: who exchanges how much with whom. Floor 1; rich is imported when something is printed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rover_core.flows import traffic
from rover_core.model import Figure, Flow, Telemetry
from rover_core.showing import duration_text
from rover_core.tables import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_ARROWS = {"client": "→", "server": "←"}
_NOTHING = "No traffic: what was profiled exchanged nothing, or it ended too soon."
_NOTES = {
    "not measured": "not measured here",
    "io_uring": "uses io_uring, whose calls are counted without their times: pid",
    "drop reasons": "packets were dropped for",
    "connections forgotten": "connections forgotten for want of room, whose role may be wrong",
}


def print_flows(telemetry: Telemetry, console: Console | None = None, limit: int = 20) -> None:
    """Print a table of the `limit` flows with the most bytes, and what is to be said about them."""
    from rich.console import Console

    console = console or Console()
    if not telemetry.flows:
        console.print(telemetry.attributes.get("text:nothing", _NOTHING), markup=False, highlight=False)
    else:
        console.print(flow_table(telemetry, limit, console.options.ascii_only))
    for note in notes(telemetry.attributes):
        console.print(plain(note), markup=False, highlight=False, style="yellow")


def notes(attributes: Mapping[str, str]) -> list[str]:
    """Sentences about what limits the figures, or explains them."""
    return [f"{text} {attributes[name]}" for name, text in _NOTES.items() if attributes.get(name)]


def flow_table(telemetry: Telemetry, limit: int, ascii_only: bool = False) -> Table:
    """Rates are per second of the telemetry's time."""
    from rich import box
    from rich.table import Table

    seconds = max((telemetry.end_ns - telemetry.start_ns) / 1e9, 1e-9)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("Process", no_wrap=True, overflow="ellipsis", min_width=10, ratio=2)
    table.add_column("", no_wrap=True)
    table.add_column("Peer", no_wrap=True, overflow="ellipsis", min_width=12, ratio=3)
    for name in ("Conn", "Sent/s", "Received/s", "Calls/s", "Write", "Read", "RTT", "Retr", "Drop", "Err"):
        table.add_column(name, justify="right", no_wrap=True)
    for flow in sorted(telemetry.flows, key=lambda flow: (-traffic(flow), flow.key.process))[:limit]:
        table.add_row(*_cells(flow, seconds, ascii_only))
    hidden = len(telemetry.flows) - limit
    if hidden > 0:
        table.caption = f"{hidden:,} more"
    return table


def _cells(flow: Flow, seconds: float, ascii_only: bool) -> list[str]:
    key = flow.key
    read, write, rtt = (flow.figures.get(name, Figure()) for name in ("read", "write", "write_rtt"))
    arrow = "<>"[key.role == "client"] if ascii_only else _ARROWS.get(key.role, "")
    peer = key.peer.label + ("" if key.transport == "tcp" else f" {key.transport}")
    return [
        plain(f"{key.name} ({key.process.pid})"),
        arrow,
        plain(peer),
        f"{flow.connections:,}",
        size_text(write.bytes / seconds),
        size_text(read.bytes / seconds),
        number_text((read.calls + write.calls) / seconds),
        *(duration_text(round(each.mean_ns)) if each.timed else "" for each in (write, read, rtt)),
        *(f"{flow.counts[name]:,}" if flow.counts.get(name) else "" for name in ("retransmits", "drops", "errors")),
    ]


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
