"""Sampled exchanges in the agent: workers' put together, and what a backend needs to know of both ends."""

import heapq
from collections.abc import Iterable

from rover_core.model import Entity, Sample
from rover_network.meters import EntitiesOf, peer_entity
from rover_network.sampling import TOP


def slowest(samples: Iterable[Sample]) -> list[Sample]:
    """The slowest of each flow and reason, of those with a trace context and of those without, in that order."""
    groups: dict[object, list[Sample]] = {}
    for sample in samples:
        key = sample.flow, sample.exchange.reason, sample.exchange.trace is not None
        groups.setdefault(key, []).append(sample)
    kept = (each for group in groups.values() for each in heapq.nlargest(TOP, group, key=_duration))
    return sorted(kept, key=_duration, reverse=True)


def _duration(sample: Sample) -> int:
    return sample.exchange.duration_ns


def entity_pairs(sample: Sample, entities_of: EntitiesOf) -> tuple[tuple[Entity, Entity | None], ...]:
    """What goes into `Sample.entities`: who had it, and the peer as far as it is of the same service and instance."""
    return tuple(
        (entity, peer_entity(sample.flow, entity, entities_of)) for entity in entities_of(sample.flow.process)
    )
