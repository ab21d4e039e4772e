"""Where nodes stand: in columns, from those that only ask to those that only answer, one to a row.

Labels cannot overlap because no two nodes share a place. Nothing is random: equal graphs are laid out equally.
"""

from __future__ import annotations

from collections import defaultdict

from rover_exporter_local.topology.graph import Graph, Kind

_MIDDLE = 5  # columns of processes, at most
_SWEEPS = 6


def place(graph: Graph) -> list[tuple[int, int]]:
    """(column, row) of each node. Columns without nodes are left out."""
    columns = _columns(graph)
    used = {column: at for at, column in enumerate(sorted(set(columns)))}
    members: dict[int, list[int]] = defaultdict(list)
    weights = [0] * len(graph.nodes)
    for edge in graph.edges:
        weights[edge.client] += edge.bytes
        weights[edge.server] += edge.bytes
    for number in sorted(range(len(columns)), key=lambda n: (-weights[n], n)):
        members[used[columns[number]]].append(number)
    rows = _ordered(graph, members)
    return [(used[columns[number]], rows[number]) for number in range(len(columns))]


def _columns(graph: Graph) -> list[int]:
    """Ends that only ask left of all, ends that answer right of all; a process right of those that ask it."""
    serving = {edge.server for edge in graph.edges}
    depths = _depths(graph)
    return [
        1 + depths[number] if node.kind == Kind.PROCESS else _MIDDLE + 1 if number in serving else 0
        for number, node in enumerate(graph.nodes)
    ]


def _depths(graph: Graph) -> list[int]:
    """Of processes: the longest way to each from one that nobody asks; that one stands next to those it asks."""
    asked = _without_circles(graph)
    depths = [0] * len(graph.nodes)
    for _ in range(_MIDDLE - 1):
        before = depths.copy()
        for client, server in asked:
            depths[server] = max(depths[server], before[client] + 1)
    nearest: dict[int, int] = {}
    for client, server in asked:
        nearest[client] = min(nearest.get(client, _MIDDLE), depths[server])
    fixed = {edge.server for edge in graph.edges}
    return [nearest.get(n, 1) - 1 if n not in fixed else min(depth, _MIDDLE - 1) for n, depth in enumerate(depths)]


def _without_circles(graph: Graph) -> list[tuple[int, int]]:
    """Edges between processes, the heaviest first, but those that lead back to where they come from."""
    kept: list[tuple[int, int]] = []
    reached = [0] * len(graph.nodes)  # sets of nodes, as bits
    for edge in sorted(graph.edges, key=lambda edge: (-edge.bytes, edge.client, edge.server)):
        ends = edge.client, edge.server
        bit = 1 << edge.client
        if edge.client == edge.server or reached[edge.server] & bit:
            continue
        if all(graph.nodes[end].kind == Kind.PROCESS for end in ends):
            kept.append(ends)
            gained = reached[edge.server] | 1 << edge.server
            for number, reach in enumerate(reached):
                if number == edge.client or reach & bit:
                    reached[number] = reach | gained
    return kept


def _ordered(graph: Graph, members: dict[int, list[int]]) -> list[int]:
    """The row of each node: near the middle of its neighbours' (barycenter sweeps), so that edges seldom cross."""
    neighbours: dict[int, list[int]] = defaultdict(list)
    for edge in graph.edges:
        neighbours[edge.client].append(edge.server)
        neighbours[edge.server].append(edge.client)
    height = max(map(len, members.values()), default=0)
    at = [0.0] * len(graph.nodes)
    for column in members.values():
        _settle(column, at, height)
    for sweep in range(_SWEEPS):
        for number in sorted(members, reverse=bool(sweep % 2)):
            column = members[number]
            centre = {n: sum(at[o] for o in neighbours[n]) / max(len(neighbours[n]), 1) for n in column}
            column.sort(key=lambda n: (centre[n], n))
            _settle(column, at, height)
    return [int(row) for row in at]


def _settle(column: list[int], at: list[float], height: int) -> None:
    """Rows in the column's order, in the middle of the page's height."""
    first = (height - len(column)) // 2
    for row, number in enumerate(column):
        at[number] = float(first + row)
