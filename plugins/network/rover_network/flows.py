"""From rows to flows: connections of one process with one peer are added up."""

from collections.abc import Iterable, Sequence

import numpy as np

from rover_bpf.maps import Array
from rover_core.model import Figure, Flow, FlowKey, Histogram
from rover_network.connections import Connection, end_text
from rover_network.rows import BUCKETS_NS, FIGURES

BOUNDS = tuple(map(float, BUCKETS_NS))
COUNTS = ("retransmits", "drops", "errors")


def make_flows(
    keys: Sequence[FlowKey],
    connections: Sequence[Connection],
    rows: Array,
    labels: Sequence[str] = ("",),
    sizes: Array | None = None,
) -> list[Flow]:
    """keys: the flow that each connection belongs to. rows: what was counted of each, shape (n,), dtype ROW.

    labels: of protocols, by the kernel's number. sizes: for how many connections each stands, one if not given.
    """
    numbers: dict[FlowKey, int] = {}
    index = np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.intp)
    names = ("untimed", "bytes", "ns", "histogram")
    untimed, amounts, times, histograms = (_grouped(rows["sums"][name], index, len(numbers)) for name in names)
    counts = {name: _grouped(rows[name], index, len(numbers)).tolist() for name in COUNTS}
    ones = np.ones(len(index), np.int64) if sizes is None else sizes
    connected = _grouped(ones, index, len(numbers)).tolist()
    last = {key: connection.remote for key, connection in zip(keys, connections, strict=True)}
    spoken: dict[FlowKey, str] = {}
    encrypted = {key for key, marks in zip(keys, rows["facts"]["tls"].tolist(), strict=True) if marks}
    for key, number in zip(keys, rows["facts"]["speaks"].tolist(), strict=True):
        spoken[key] = spoken.get(key) or labels[number]
    made = [
        Flow(
            key,
            end_text(last[key]),
            connected[at],
            _figures(untimed[at], amounts[at], times[at], histograms[at]),
            {name: values[at] for name, values in counts.items() if values[at]},
            spoken[key],
            key in encrypted,
        )
        for key, at in numbers.items()
    ]
    return [flow for flow in made if (flow.figures or flow.counts) and not _never_used(flow)]


def _never_used(flow: Flow) -> bool:
    """A socket without another end that was closed: it listened, perhaps in the process that forked this one."""
    peer = flow.key.peer
    ends = peer.process is not None or peer.address
    return not ends and not flow.counts and flow.figures.keys() == {"close"}


def _grouped(values: Array, index: Array, groups: int) -> Array:
    """Sums by group along the first axis."""
    totals = np.zeros((groups, *values.shape[1:]), np.int64)
    np.add.at(totals, index, values.astype(np.int64))
    return totals


def _figures(*columns: Array) -> dict[str, Figure]:
    figures = zip(FIGURES, map(_figure, *columns), strict=True)
    return {name: figure for name, figure in figures if figure.calls or figure.bytes}


def _figure(untimed: int, amount: int, ns: int, histogram: Array) -> Figure:
    timed = int(histogram.sum())
    distribution = Histogram(BOUNDS, tuple(histogram.tolist())) if timed else None
    return Figure(int(untimed) + timed, int(amount), timed, int(ns), distribution)


def merge_flows(flows: Iterable[Flow], into: dict[FlowKey, Flow] | None = None) -> dict[FlowKey, Flow]:
    """Flows of one key added up."""
    merged = {} if into is None else into
    for flow in flows:
        known = merged.get(flow.key)
        merged[flow.key] = known + flow if known else flow
    return merged


def events(flows: Iterable[Flow]) -> int:
    """How many calls they count; the round-trip times that come with them are none of their own."""
    return sum(figure.calls for flow in flows for name, figure in flow.figures.items() if name != "write_rtt")
