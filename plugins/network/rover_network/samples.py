"""Sampled exchanges in the agent: workers' put together, and what a backend needs to know of both ends."""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import replace

from rover_core.model import Entity, Sample, SampledMessage
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


def name_interfaces(sample: Sample, name_of: Callable[[int], str]) -> Sample:
    """The sample with the names of interfaces that its system calls know by number."""

    def named(message: SampledMessage | None) -> SampledMessage | None:
        if message is None or not message.syscalls:
            return message
        calls = (replace(call, interface=name_of(call.interface_index)) for call in message.syscalls)
        return replace(message, syscalls=tuple(calls))

    exchange = sample.exchange
    return replace(
        sample, exchange=replace(exchange, request=named(exchange.request), response=named(exchange.response))
    )


def entity_pairs(sample: Sample, entities_of: EntitiesOf) -> tuple[tuple[Entity, Entity | None], ...]:
    """What goes into `Sample.entities`: who had it, and the peer as far as it is of the same service and instance."""
    return tuple(
        (entity, peer_entity(sample.flow, entity, entities_of)) for entity in entities_of(sample.flow.process)
    )
