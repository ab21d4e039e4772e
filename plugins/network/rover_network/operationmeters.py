"""Operations as a SkyWalking backend takes them: the HTTP/1 meters of contract section 5.5, for every protocol alike.

Beside the contract's: `<protocol>_error_counter`, and `<protocol>_operation_counter` with the label `operation`, the
operation's class.
"""

from collections.abc import Iterable, Iterator

from rover_core.model import Distribution, Entity, Histogram, Meter, Operation
from rover_network.intervals import DURATION_BOUNDS, DURATION_BOUNDS_MS
from rover_network.meters import EntitiesOf, Labels, labels_of

_MS = 1_000_000
_BOUNDS_MS = tuple(map(float, DURATION_BOUNDS_MS))
_Place = tuple[Entity, Labels, str]
Value = tuple[str, Labels, float | Histogram]


def make_operation_meters(operations: Iterable[Operation], prefix: str, entities_of: EntitiesOf) -> list[Meter]:
    """By pair of processes, of each entity of the process."""
    totals: dict[_Place, Operation] = {}
    classes: dict[_Place, dict[str, int]] = {}
    made: list[Meter] = []
    for operation in operations:
        key = operation.key
        for entity in entities_of(key.flow.process):
            labels = labels_of(key.flow, operation.address, operation.label, operation.ssl, entity, entities_of)
            if not labels:
                continue
            place = (entity, labels, key.protocol)
            known = totals.get(place)
            totals[place] = known + operation if known else operation
            counts = classes.setdefault(place, {})
            counts[key.operation_class] = counts.get(key.operation_class, 0) + operation.requests
    for place, total in totals.items():
        entity, labels, protocol = place
        for name, more, value in _values(total, classes[place]):
            made.append(Meter(entity, f"{prefix}_{protocol}_{name}", (*labels, *more), value))
    return made


def _values(total: Operation, classes: dict[str, int]) -> Iterator[Value]:
    if total.requests:
        yield "request_counter", (), float(total.requests)
    if total.errors:
        yield "error_counter", (), float(total.errors)
    for status, count in total.statuses.items():
        if status:
            yield "response_status_counter", (("code", status),), float(count)
    for name, count in classes.items():
        if name and count:
            yield "operation_counter", (("operation", name),), float(count)
    yield from _distribution("request_package_size", total.request_sizes)
    yield from _distribution("response_package_size", total.response_sizes)
    if total.durations.histogram:
        name = f"{total.key.flow.role}_duration"
        yield f"{name}_avg", (), total.durations.mean / _MS
        yield f"{name}_histogram", (), in_ms(total.durations.histogram)
    for name, values in total.metrics.items():
        yield from _distribution(name, values)


def _distribution(name: str, values: Distribution) -> Iterator[Value]:
    if values.histogram:
        if values.total:
            yield f"{name}_avg", (), values.mean
        yield f"{name}_histogram", (), values.histogram


def in_ms(durations: Histogram) -> Histogram:
    """The contract's buckets, of whose bounds all are among ours; what is shorter is in the first."""
    counts = [0] * len(_BOUNDS_MS)
    at = 0
    for bound, count in zip(DURATION_BOUNDS, durations.counts, strict=True):
        while at + 1 < len(_BOUNDS_MS) and bound >= _MS * _BOUNDS_MS[at + 1]:
            at += 1
        counts[at] += count
    return Histogram(_BOUNDS_MS, tuple(counts))
