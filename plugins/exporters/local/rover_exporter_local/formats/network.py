"""Telemetry as one HTML page: who exchanges how much with whom, as a graph and a table, with histograms of times; and
what is asked for, by operation."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from html import escape
from typing import Any, BinaryIO

from rover_core.flowtable import NOTES, notes, without_peers
from rover_core.model import Figure, Operation, Telemetry
from rover_core.showing import duration_text
from rover_core.tables import completeness_sentence
from rover_exporter_local.formats.page import filled, make_page, safe
from rover_exporter_local.text import moment
from rover_exporter_local.topology.graph import Edge, Graph, Kind, Node, make_graph
from rover_exporter_local.topology.grouping import grouped
from rover_exporter_local.topology.layout import place

_ROWS = 1000  # of a table: the pairs with the most bytes, the most frequent operations
_SEARCHED = 500  # names of a group that can be searched for
_SAID_ELSEWHERE = {"host", *NOTES}


class NetworkHtml:
    """`.html`, a `TelemetryFormat`."""

    name = "html"
    extension = "html"
    binary = False
    description = "network graph"

    def write_telemetry(self, telemetry: Telemetry, out: BinaryIO) -> None:
        title = f"{telemetry.profiler.replace('_', ' ')} on {telemetry.attributes.get('host') or platform.node()}"
        c = telemetry.completeness
        main = filled(
            "network.html",
            title=safe(title),
            facts="".join(f"<li>{safe(fact)}</li>" for fact in _facts(telemetry)),
            whole="whole" if c.kept == c.expected else "partial",
            completeness=escape(completeness_sentence(c, "events")),
            notes="".join(f"<p>{safe(note)}</p>" for note in notes(telemetry.attributes)),
            steps=_steps(telemetry),
        )
        styles, scripts = ["flamegraph.css", "network.css"], ["words.js", "drawing.js", "network.js"]
        out.write(make_page(title, main, {"data": _data(telemetry)}, scripts=scripts, styles=styles))


def _steps(telemetry: Telemetry) -> str:
    """What happened at each step, and what was lost or is poorer for which cause; closed until somebody asks."""
    c = telemetry.completeness
    rows = [(name, _count(name, count)) for name, count in telemetry.steps.items()]
    rows += [(f"lost: {cause}", f"{count:,}") for cause, count in c.lost.items()]
    rows += [(f"poorer: {cause}", f"{count:,}") for cause, count in c.degraded.items()]
    cells = "".join(f"<tr><th scope=row>{safe(name)}</th><td>{count}</td></tr>" for name, count in rows)
    return f"<details class=steps><summary>Steps and losses</summary><table>{cells}</table></details>" if rows else ""


def _count(name: str, count: int) -> str:
    return duration_text(count) if name.endswith(" ns") else f"{count:,}"


def _facts(telemetry: Telemetry) -> list[str]:
    start, end = moment(telemetry.start_ns), moment(telemetry.end_ns)
    day = "" if start.date() == end.date() else "%Y-%m-%d "
    said = [f"{name}: {value}" for name, value in telemetry.attributes.items() if name not in _SAID_ELSEWHERE]
    return [
        f"{start:%Y-%m-%d %H:%M:%S} to {end:{day}%H:%M:%S %Z}",
        duration_text(telemetry.end_ns - telemetry.start_ns),
        f"task {telemetry.task_id}",
        *(text for text in said if ":" not in text.split(": ", 1)[0]),
    ]


def _data(telemetry: Telemetry) -> dict[str, Any]:
    whole = make_graph(telemetry.flows)
    drawn = grouped(whole)
    heaviest = sorted(whole.edges, key=lambda edge: -edge.bytes)
    operations = sorted(without_peers(telemetry.operations), key=lambda each: -each.exchanges)
    return {
        "seconds": max((telemetry.end_ns - telemetry.start_ns) / 1e9, 1e-9),
        "nodes": _nodes(drawn),
        "edges": [_edge(edge) for edge in drawn.edges],
        "rows": [_row(whole, edge) for edge in heaviest[:_ROWS]],
        "allRows": len(whole.edges),
        "operations": [_operation(each) for each in operations[:_ROWS]],
        "allOperations": len(operations),
        "bounds": _bounds(drawn),
    }


def _nodes(graph: Graph) -> list[dict[str, Any]]:
    return [_node(node, *where) for node, where in zip(graph.nodes, place(graph), strict=True)]


def _node(node: Node, column: int, row: int) -> dict[str, Any]:
    made = {"kind": int(node.kind), "name": node.name, "detail": node.detail, "column": column, "row": row}
    return made | {"members": len(node.within) or 1, "within": node.within[:_SEARCHED]}


def _edge(edge: Edge) -> dict[str, Any]:
    figures = {name: _figure(figure) for name, figure in edge.figures.items()}
    return {"client": edge.client, "server": edge.server, **_amounts(edge), "figures": figures}


def _amounts(edge: Edge) -> dict[str, Any]:
    return {
        "transports": sorted(edge.transports),
        "toServer": edge.to_server,
        "toClient": edge.to_client,
        "calls": edge.calls,
        "connections": edge.connections,
        "counts": {name: count for name, count in edge.counts.items() if count},
    }


def _row(graph: Graph, edge: Edge) -> dict[str, Any]:
    ends = {side: _text(graph.nodes[end]) for side, end in (("client", edge.client), ("server", edge.server))}
    return {**ends, **_amounts(edge), "rtt": edge.figures.get("write_rtt", Figure()).mean_ns}


def _operation(operation: Operation) -> dict[str, Any]:
    """Times in ns, null where no exchange had both its halves."""
    key, durations = operation.key, operation.durations
    quantiles = {f"p{share}": round(durations.quantile(share / 100)) for share in (50, 90, 99)}
    return {
        "process": f"{key.flow.name} ({key.flow.process.pid})",
        "role": key.flow.role,
        "protocol": key.protocol,
        "operation": key.operation or "unknown",
        "exchanges": operation.exchanges,
        "errors": operation.errors / operation.exchanges if operation.exchanges else 0,
        **(quantiles if durations.count else dict.fromkeys(quantiles)),
    }


def _text(node: Node) -> str:
    return f"{node.name} ({node.detail.removeprefix('pid ')})" if node.kind == Kind.PROCESS else node.name


def _figure(figure: Figure) -> dict[str, Any]:
    """The histogram without the empty buckets in front and behind: `first` is the number of its first one."""
    counts = figure.histogram.counts if figure.histogram else ()
    used = [at for at, count in enumerate(counts) if count]
    first, behind = (used[0], used[-1] + 1) if used else (0, 0)
    made = {"calls": figure.calls, "timed": figure.timed, "ns": figure.ns}
    return made | {"first": first, "counts": list(counts[first:behind])}


def _bounds(graph: Graph) -> Mapping[str, list[float]]:
    """By figure, the lower bounds of its buckets in nanoseconds."""
    found = (item for edge in graph.edges for item in edge.figures.items())
    return {name: list(figure.histogram.bounds) for name, figure in found if figure.histogram}
