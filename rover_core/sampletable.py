"""Sampled exchanges on a terminal. Floor 1; rich is imported when something is printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rover_core.flows import sample_record
from rover_core.flowtable import size_text
from rover_core.model import Telemetry
from rover_core.showing import duration_text
from rover_core.tables import cut_to_fit, plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_STYLES = {"slow": "yellow", "status_4xx": "magenta"}
_WIDE = 100  # characters of a console from which on the peer is shown too


def print_samples(telemetry: Telemetry, console: Console, limit: int = 20) -> None:
    """Print the `limit` slowest, if there are any."""
    records = [sample_record(sample) for sample in telemetry.samples]
    if records:
        print_list(sorted(records, key=lambda each: each["duration_ns"], reverse=True)[:limit], console)


def print_list(records: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print a table with a line for each, in their order.

    records: as `sample_record` makes them, perhaps with an `id`.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    numbered, wide = any("id" in record for record in records), console.width >= _WIDE
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("Id",) * numbered + ("Time", "Took", "Status"):
        table.add_column(title, justify="left" if title == "Time" else "right", no_wrap=True)
    for title in ("Process",) + ("Peer",) * wide:
        table.add_column(title, max_width=24)
    table.add_column("What")
    for record in records:
        number = [str(record.get("id", ""))] * numbered
        who = [f"{record['process']} ({record['pid']})", *([record["peer"]["label"]] * wide)]
        cells = [*number, _time(record), duration_text(record["duration_ns"])]
        row = [Text(plain(cell)) for cell in cells]
        table.add_row(*row, _status(record), *(cut_to_fit(plain(cell)) for cell in (*who, _what(record))))
    console.print(table)


def print_whole(record: Mapping[str, Any], console: Console) -> None:
    """Print one with its messages."""
    from rich.text import Text

    for name, value in _facts(record):
        console.print(Text.assemble((f"{name:<9}", "bold"), plain(value)), soft_wrap=True)
    for title in ("request", "response"):
        message = record[title]
        if message:
            size = f", {size_text(message['size'])}" if message["size"] else ""
            took = duration_text(message["end_ns"] - message["start_ns"])
            console.print(Text(f"\n{title}{size}, {took}", style="bold"), soft_wrap=True)
            for line in message["text"].split("\n"):
                console.print(Text(plain(line.rstrip("\r").expandtabs())), soft_wrap=True)
            for call in message["syscalls"]:
                console.print(Text(_call(call), style="dim"), soft_wrap=True)


def _facts(record: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    trace = record["trace"]
    arrow = "<-" if record["role"] == "server" else "->"
    yield "when", f"{_moment(record):%Y-%m-%d %H:%M:%S.%f}"
    yield "took", duration_text(record["duration_ns"])
    yield "status", f"{record['status']} ({record['reason']})"
    yield (
        "who",
        f"{record['process']} ({record['pid']}) {arrow} {record['peer']['label']} {record['address']}".rstrip(),
    )
    yield "what", f"{record['protocol']}{' over TLS' if record['ssl'] else ''} {_what(record)}"
    if trace:
        parts = (trace["provider"], trace["trace_id"], trace["segment_id"], trace["span_id"])
        yield "trace", " ".join(filter(None, parts))


def _call(call: Mapping[str, Any]) -> str:
    took = duration_text(call["end_ns"] - call["start_ns"])
    counted = f"{call['packets']} packet{'s' * (call['packets'] != 1)}"
    packets = f", {counted}, {size_text(call['packet_bytes'])}" if call["packets"] else ""
    where = f", {plain(call['interface'])}" if call["interface"] else ""
    round_trip = f", round trip {duration_text(1000 * call['rtt_us'])}" if call["rtt_us"] else ""
    return f"{call['function']} {took}{packets}{where}{round_trip}"


def _what(record: Mapping[str, Any]) -> str:
    """`GET /users/7`: some subjects begin with the operation, some have none."""
    operation, subject = record["operation"], record["subject"]
    return subject if subject.startswith(operation) else f"{operation} {subject}"


def _status(record: Mapping[str, Any]) -> Text:
    from rich.text import Text

    return Text(plain(record["status"]), style=_STYLES.get(record["reason"], "red"))


def _time(record: Mapping[str, Any]) -> str:
    return f"{_moment(record):%H:%M:%S.%f}"[:-3]


def _moment(record: Mapping[str, Any]) -> datetime:
    return datetime.fromtimestamp(record["start_ns"] / 1e9).astimezone()
