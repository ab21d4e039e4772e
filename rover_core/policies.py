"""Continuous profiling's words: what is watched, when that is too much, and what was begun because of it. Floor 0."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rover_core.model import Entity, Process, Task

LONGEST_PERIOD_S = 3600
"""Seconds of a window: each watched value takes 16 bytes a second of it."""

CAUSES = "causes"
"""The attribute of batches (`Profile.attributes`) that says why a policy began their task."""


class Monitor(StrEnum):
    """What is watched, by the contract's names of check types (section 2.2)."""

    PROCESS_CPU = "PROCESS_CPU"
    PROCESS_THREAD_COUNT = "PROCESS_THREAD_COUNT"
    SYSTEM_LOAD = "SYSTEM_LOAD"
    HTTP_ERROR_RATE = "HTTP_ERROR_RATE"
    HTTP_AVG_RESPONSE_TIME = "HTTP_AVG_RESPONSE_TIME"

    @property
    def of_requests(self) -> bool:
        return self in (Monitor.HTTP_ERROR_RATE, Monitor.HTTP_AVG_RESPONSE_TIME)

    @property
    def unit(self) -> str:
        """As people write it behind a value."""
        return _UNITS.get(self, "")


_UNITS = {
    Monitor.PROCESS_CPU: " %",
    Monitor.PROCESS_THREAD_COUNT: " threads",
    Monitor.HTTP_ERROR_RATE: " %",
    Monitor.HTTP_AVG_RESPONSE_TIME: " ms",
}


@dataclass(frozen=True, slots=True)
class Uri:
    """Requests by the path of their URI, which has no query.

    path: exactly that; regex: where RE2 finds it (`rover_core.patterns`); neither: every request.
    """

    path: str = ""
    regex: str = ""

    @property
    def label(self) -> str:
        """The label `uri` of metrics (contract section 5.9)."""
        return self.path or self.regex or "global"


@dataclass(frozen=True, slots=True)
class Threshold:
    """Too much: in the last period_s slots of a second each, at least `count` have a value of at least `value`.

    value: percent of all processors, threads, load average, percent of requests, or ms. uris: of monitors of requests
    what is looked at, each by itself.
    """

    monitor: Monitor
    value: float
    period_s: int
    count: int
    uris: tuple[Uri, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.period_s <= LONGEST_PERIOD_S:
            raise ValueError(f"the period is {self.period_s} s, not between 1 and {LONGEST_PERIOD_S}")
        if not 0 < self.count <= self.period_s:
            raise ValueError(f"the count is {self.count}, not between 1 and the period, {self.period_s}")
        if not 0 <= self.value < float("inf"):
            raise ValueError(f"the threshold is {self.value}, which no value can be compared with")


@dataclass(frozen=True, slots=True)
class Policy:
    """What to begin when thresholds are passed, by the name of the profiler.

    service: whose processes it is about, as their entities have it; selects: which processes, in place of a service.
    """

    service: str
    thresholds: Mapping[str, Sequence[Threshold]]
    selects: Callable[[Process], bool] | None = None


@dataclass(frozen=True, slots=True)
class Cause:
    """A threshold that was passed. current: the oldest value in the window that passed it."""

    monitor: Monitor
    threshold: float
    current: float
    uri: Uri | None = None

    def __str__(self) -> str:
        where = f" of {self.uri.label}" if self.uri and self.uri != Uri() else ""
        unit = self.monitor.unit
        return f"{self.monitor}{where} {self.current:.4g}{unit}, threshold {self.threshold:g}{unit}"


@dataclass(frozen=True, slots=True)
class Trigger:
    """A task that a policy asks for. process: the one it is told of, as this entity, None where it has none."""

    task: Task
    process: Process
    entity: Entity | None
    causes: tuple[Cause, ...]
