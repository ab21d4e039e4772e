"""A graph of at most so many nodes: ends that exchange little are drawn as one, and say how many they are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

from rover_exporter_local.topology.graph import Edge, Graph, Kind, Node

PROCESSES, ENDS = 90, 60  # of their own, per page; ends of either kind
_GROUPS = 10  # of small ones with something in common, before the rest is one


def grouped(graph: Graph, processes: int = PROCESSES, ends: int = ENDS) -> Graph:
    """The nodes with the most bytes as they are; small processes by name, small ends by port and direction."""
    weights: Counter[int] = Counter()
    serves: set[int] = set()
    for edge in graph.edges:
        weights[edge.client] += edge.bytes
        weights[edge.server] += edge.bytes
        serves.add(edge.server)
    target = list(range(len(graph.nodes)))
    nodes = [Node(each.kind, each.name, each.detail) for each in graph.nodes]
    everyone = range(len(graph.nodes))
    small = [n for n in everyone if graph.nodes[n].kind == Kind.PROCESS]
    _merge(
        _lightest(small, weights, processes),
        lambda n: _family(graph.nodes[n].name),
        _process_group,
        weights,
        target,
        nodes,
    )
    small = [n for n in everyone if graph.nodes[n].kind != Kind.PROCESS]
    for side, group in ((True, _server_group), (False, _client_group)):
        light = [n for n in _lightest(small, weights, ends) if (n in serves) == side]
        _merge(light, lambda n: graph.nodes[n].detail, group, weights, target, nodes)
    return _rebuilt(graph, target, nodes)


def _lightest(numbers: Sequence[int], weights: Counter[int], keep: int) -> list[int]:
    return sorted(numbers, key=lambda n: (-weights[n], n))[keep:]


def _merge(
    light: Sequence[int],
    common: Callable[[int], str],
    group: Callable[[str, Node], Node],
    weights: Counter[int],
    target: list[int],
    nodes: list[Node],
) -> None:
    """Point `target` of those that have something in common at one new node; beyond some groups, of all the rest."""
    totals: Counter[str] = Counter()
    for number in light:
        totals[common(number)] += weights[number] + 1
    known = {word for word, _ in totals.most_common(_GROUPS)}
    members: dict[str, list[int]] = {}
    for number in light:
        members.setdefault(common(number) if common(number) in known else "", []).append(number)
    for word, numbers in members.items():
        if len(numbers) > 1:
            nodes.append(group(word, nodes[numbers[0]]))
            nodes[-1].within = [nodes[number].name for number in numbers]
            for number in numbers:
                target[number] = len(nodes) - 1


def _family(name: str) -> str:
    """What processes that are numbered have in common: `worker` of `worker-7`."""
    return re.sub(r"(?<=\w)\W*\d+$", "", name)


def _process_group(family: str, like: Node) -> Node:
    alike = family if family == like.name else f"{family}…"
    return Node(like.kind, alike if family else "other processes")


def _server_group(port: str, like: Node) -> Node:
    return Node(Kind.REMOTE, f"others, {port}" if port else "other servers")


def _client_group(port: str, like: Node) -> Node:
    return Node(Kind.REMOTE, f"others, {port}" if port else "other clients")


def _rebuilt(graph: Graph, target: list[int], nodes: list[Node]) -> Graph:
    """Only the nodes that edges lead to; edges between the same two are one."""
    edges: dict[tuple[int, int], Edge] = {}
    numbers: dict[int, int] = {}
    for old in graph.edges:
        pair = tuple(numbers.setdefault(target[end], len(numbers)) for end in (old.client, old.server))
        edges.setdefault((pair[0], pair[1]), Edge(pair[0], pair[1])).take(old)
    return Graph([nodes[number] for number in numbers], list(edges.values()))
