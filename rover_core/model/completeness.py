"""The loss ledger: what is missing in the data, and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Loss(StrEnum):
    """Why something that happened is not, or not fully, in the data."""

    MAP_FULL = "map full"
    RING_FULL = "ring full"
    QUEUE_FULL = "queue full"
    EXPORTER_DOWN = "exporter down"
    UNSYMBOLIZED = "unsymbolized"
    MISSED_EVENT = "missed event"
    PROCESS_GONE = "process gone"
    TRUNCATED_STACK = "truncated stack"
    BROKEN_STACK = "broken stack"
    GAP = "gap in the bytes"
    UNREADABLE = "unreadable bytes"
    OVER_LIMIT = "over the limit"
    UNPAIRED = "not paired"
    WORKER_ENDED = "worker ended"
    NO_SOCKET = "socket not known"


@dataclass(frozen=True, slots=True)
class Completeness:
    """One entry of the loss ledger: how much of what happened is in the data. Unit: samples (or data points).

    expected = kept + sum(lost.values()): nothing vanishes without a cause.
    degraded counts kept samples that are poorer than they should be (a frame without a name, a cut stack); one
    sample may be degraded for several causes.
    """

    expected: int = 0
    kept: int = 0
    lost: Mapping[Loss, int] = field(default_factory=dict)
    degraded: Mapping[Loss, int] = field(default_factory=dict)

    def __add__(self, other: "Completeness") -> "Completeness":
        return Completeness(
            self.expected + other.expected,
            self.kept + other.kept,
            _add(self.lost, other.lost),
            _add(self.degraded, other.degraded),
        )

    def drop(self, cause: Loss) -> "Completeness":
        """The same entry after everything that was kept got lost for this cause."""
        return Completeness(self.expected, 0, _add(self.lost, {cause: self.kept} if self.kept else {}))

    @property
    def ratio(self) -> float:
        """Share kept, 0..1; 1 when nothing was expected."""
        return self.kept / self.expected if self.expected else 1.0


def _add(left: Mapping[Loss, int], right: Mapping[Loss, int]) -> dict[Loss, int]:
    return {cause: left.get(cause, 0) + right.get(cause, 0) for cause in sorted({*left, *right})}
