"""What workers report, put together: operations of flows. Reports are a stranger's words, so they are checked."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from rover_core.api import WireProtocol
from rover_core.model import Distribution, FlowKey, Histogram, Operation, OperationKey
from rover_network.intervals import DURATION_BOUNDS, LONGEST, SIZE_BOUNDS, Spread, spread

_DURATIONS = tuple(map(float, DURATION_BOUNDS))
_SIZES = tuple(map(float, SIZE_BOUNDS))
_LIMIT = 1 << 64
Socket = tuple[int, int, int]
"""Inode, process and peer, as in the kernel's key of a connection."""


class Line(NamedTuple):
    """What is known of a connection: its flow, the other end's address, whether it is encrypted."""

    key: FlowKey
    address: str
    ssl: bool


FlowOf = Callable[[Socket], Line | None]
Row = Sequence[Any]
"""Of a report, as `intervals.Interval.take` makes them."""


class Found(NamedTuple):
    """What reports come to. losses: (pid, cause) -> messages; pid 0 where it may be anybody's. waiting: rows of
    connections that are not known yet; homeless: exchanges of those that nobody has come to know."""

    operations: list[Operation]
    losses: Mapping[tuple[int, str], int]
    steps: Mapping[str, int]
    waiting: list[Row]
    homeless: int


class _Totals:
    """Of one operation: as `intervals.Sums`, added up over connections and statuses."""

    __slots__ = ("address", "metrics", "numbers", "spreads", "ssl", "statuses")

    def __init__(self, address: str) -> None:
        self.address = address
        self.ssl = False
        self.numbers = [0, 0, 0]
        self.spreads = [spread(), spread(), spread()]
        self.statuses: dict[str, int] = {}
        self.metrics: dict[str, Spread] = {}

    def add(self, status: str, numbers: Sequence[int], spreads: Sequence[Spread], metrics: Mapping[str, Any]) -> None:
        self.numbers = [a + b for a, b in zip(self.numbers, numbers, strict=True)]
        self.statuses[status] = self.statuses.get(status, 0) + numbers[0]
        for mine, other in zip(self.spreads, spreads, strict=True):
            _add_spread(mine, other)
        for name, other in metrics.items():
            _add_spread(self.metrics.setdefault(name, spread()), other)


def _add_spread(into: Spread, other: Spread) -> None:
    into[0] += other[0]
    into[1] += other[1]
    buckets = into[2]
    for bucket, count in other[2].items():
        buckets[int(bucket)] = buckets.get(int(bucket), 0) + count


def _distribution(values: Spread, bounds: tuple[float, ...]) -> Distribution:
    count, total, buckets = values
    if not count:
        return Distribution()
    return Distribution(count, total, Histogram(bounds, tuple(buckets.get(at, 0) for at in range(len(bounds)))))


def check(report: Mapping[str, Any], protocols: int) -> None:
    """Raises ValueError if this is no report: a type, a number of entries or a bucket that no worker writes."""
    try:
        for row in report["rows"]:
            inode, tgid, peer, client, protocol, *names = row[:8]
            exchanges, requests, errors, durations, requested, responded, metrics = row[8:]
            _check_numbers(inode, tgid, peer, client, exchanges, requests, errors)
            if not 0 < protocol <= protocols or not all(isinstance(name, str) for name in names):
                raise ValueError("a row of nothing known")
            _check_spread(durations, len(DURATION_BOUNDS))
            for values in (requested, responded):
                _check_spread(values, len(SIZE_BOUNDS))
            for values in metrics.values():
                _check_spread(values, len(DURATION_BOUNDS))
        for tgid, cause, count in report["losses"]:
            _check_numbers(tgid, count)
            if not isinstance(cause, str):
                raise ValueError("a cause that is none")
        _check_numbers(*report["steps"].values())
        for inode, tgid, peer, protocol in report["again"]:
            _check_numbers(inode, tgid, peer, protocol)
            if protocol > protocols:
                raise ValueError("a connection of nothing known")
        for operation, *names in report["learned"]:
            _check_numbers(operation)
            if len(names) != 2 or not all(isinstance(name, str) and len(name) <= LONGEST for name in names):
                raise ValueError("an operation that is none")
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a report: {error!r}") from error


def _check_numbers(*values: object) -> None:
    for value in values:  # thousands a second: no generator
        if not isinstance(value, int) or not 0 <= value < _LIMIT:
            raise ValueError("not a count")


def _check_spread(values: Spread, buckets: int) -> None:
    count, total, counts = values
    _check_numbers(count, total, *counts.values())
    for bucket in counts:
        if not 0 <= int(bucket) < buckets:
            raise ValueError("no such bucket")


def put_together(
    reports: Sequence[Mapping[str, Any]], protocols: Sequence[WireProtocol], flow_of: FlowOf, late: Iterable[Row] = ()
) -> Found:
    """Reports that were checked. late: rows that have waited: what is not known of them now never will be."""
    totals: dict[OperationKey, _Totals] = {}
    losses: dict[tuple[int, str], int] = {}
    steps: dict[str, int] = {}
    waiting: list[Row] = []
    homeless = exchanges = paired = messages = 0
    for is_late, rows in ((True, late), *((False, report["rows"]) for report in reports)):
        for row in rows:
            inode, tgid, peer, client, number, kind, operation, status = row[:8]
            flow = flow_of((inode, tgid, peer))
            if flow is None and not is_late:
                waiting.append(row)
                continue
            exchanges += row[8]
            paired += row[11][0]
            messages += row[12][0] + row[13][0]
            if flow is None:
                homeless += row[8]
                continue
            key, address, ssl = flow
            role = "client" if client else "server"
            if key.role != role:
                key = replace(key, role=role)
            place = OperationKey(key, protocols[number - 1].name, kind, operation)
            known = totals.get(place)
            if known is None:
                known = totals[place] = _Totals(address)
            known.ssl |= ssl
            known.add(status, row[8:11], row[11:14], row[14])
    for report in reports:
        for tgid, cause, count in report["losses"]:
            losses[tgid, cause] = losses.get((tgid, cause), 0) + count
        for name, count in report["steps"].items():
            steps[name] = steps.get(name, 0) + count
    steps |= {"messages parsed": messages, "exchanges paired": paired, "exchanges": exchanges}
    labels = {protocol.name: protocol.label for protocol in protocols}
    made = [_operation(key, labels[key.protocol], each) for key, each in totals.items()]
    return Found(made, losses, steps, waiting, homeless)


def _operation(key: OperationKey, label: str, totals: _Totals) -> Operation:
    durations, requested, responded = totals.spreads
    exchanges, requests, errors = totals.numbers
    return Operation(
        key,
        label,
        totals.address,
        exchanges,
        requests,
        errors,
        totals.statuses,
        _distribution(durations, _DURATIONS),
        _distribution(requested, _SIZES),
        _distribution(responded, _SIZES),
        {name: _distribution(values, _DURATIONS) for name, values in totals.metrics.items()},
        totals.ssl,
    )
