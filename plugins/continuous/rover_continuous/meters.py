"""What is watched, as metrics (contract section 5.9)."""

from collections.abc import Iterable, Sequence

from rover_continuous.watchlist import Series, Watched, Watchlist
from rover_core.api import RequestSums
from rover_core.model import Entity, Meter
from rover_core.policies import Monitor

_Told = tuple[Entity, Series]


def make_meters(
    prefix: str, watchlist: Watchlist, since: int, second: int, sums: Iterable[RequestSums]
) -> list[Meter]:
    """Of processes that a policy for their service is about: the newest value of each monitor behind the second
    `since`, and of requests (sums: those since the last time) a value for each second, the newest first.

    Several processes of one entity are one to a backend: of their values it is told the highest, of requests all.
    """
    told = {each.process.pid: (each, _told(each)) for each in watchlist.watched.values()}
    newest: dict[_Told, float] = {}
    for each, pairs in told.values():
        for entity, series in pairs:
            window = watchlist.window(each, series)
            values = window.values(since, second) if window and not series[0].of_requests else []
            if values:
                newest[entity, series] = max(values[-1], newest.get((entity, series), 0.0))
    meters = [_meter(prefix, entity, series, value) for (entity, series), value in newest.items()]
    return meters + _of_requests(prefix, sums, {pid: pairs for pid, (_, pairs) in told.items()})


def _told(each: Watched) -> Sequence[_Told]:
    """Each but once, however many policies are about it."""
    pairs = ((rule.entity, series) for rule in each.rules if rule.entity for series in rule.series)
    return list(dict.fromkeys(pairs))


def _of_requests(prefix: str, sums: Iterable[RequestSums], told: dict[int, Sequence[_Told]]) -> list[Meter]:
    points: dict[tuple[int, Entity, Series], list[float]] = {}
    for each in sums:
        for entity, (monitor, uri) in told.get(each.pid, ()):
            if monitor.of_requests and uri == each.uri:
                part = 100 * each.errors if monitor is Monitor.HTTP_ERROR_RATE else each.duration_ns / 1e6
                point = points.setdefault((each.second, entity, (monitor, uri)), [0.0, 0.0])
                point[0] += part
                point[1] += each.requests
    newest_first = sorted(points.items(), key=lambda item: -item[0][0])
    return [_meter(prefix, entity, series, part / whole) for (_, entity, series), (part, whole) in newest_first]


def _meter(prefix: str, entity: Entity, series: Series, value: float) -> Meter:
    monitor, uri = series
    labels = (("uri", uri.label),) if uri else ()
    labels = (*labels, ("process_name", entity.process), ("layer", entity.layer))
    return Meter(entity, f"{prefix}_{monitor.lower()}", labels, value)
