"""Requests added up second by second, for continuous profiling."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from rover_core.api.profilers import Profiler
from rover_core.model import Loss
from rover_core.policies import Uri


@dataclass(frozen=True, slots=True)
class RequestWatch:
    """Requests that these processes answer, as servers, to be added up second by second. protocol: its name."""

    uri: Uri
    pids: frozenset[int]
    protocol: str = "http1"


@dataclass(frozen=True, slots=True)
class RequestSums:
    """What the requests of a watch to one process come to that began in one second and were answered.

    second: of CLOCK_MONOTONIC. duration_ns: of all together, from a request's first byte to its response's last.
    """

    uri: Uri
    pid: int
    second: int
    requests: int
    errors: int
    duration_ns: int


@dataclass(frozen=True, slots=True)
class Observation:
    """lost: pieces of connections that may have held watched requests, by cause."""

    sums: Sequence[RequestSums] = ()
    lost: Mapping[Loss, int] = field(default_factory=dict)


@runtime_checkable
class ObservingProfiler(Profiler, Protocol):
    """A profiler of connections that can add up requests, for less than a task costs."""

    def observe(self, watches: Sequence[RequestWatch]) -> Observation:
        """Add up from now on what these ask for and nothing else; return what was seen since the last call.

        Without watches nothing is observed, and what that needed is released. Raises RoverError if it cannot be.
        """
        ...
