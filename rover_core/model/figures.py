"""Values that were measured, and how they are distributed."""

from dataclasses import dataclass

from rover_core.model.processes import Entity


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by value: counts[i] is how many values v had bounds[i] <= v < bounds[i + 1], the last bound open."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]

    def quantile(self, share: float) -> float:
        """What this share (0..1) of all values is below, as if they lay evenly in their buckets; 0 without any."""
        rank, seen = share * sum(self.counts), 0
        for at, count in enumerate(self.counts):
            if count and seen + count >= rank:
                low = self.bounds[at]
                high = self.bounds[at + 1] if at + 1 < len(self.bounds) else low
                return low + (high - low) * (rank - seen) / count
            seen += count
        return 0.0


@dataclass(frozen=True, slots=True)
class Distribution:
    """Many values: how many, their sum, and how they are distributed."""

    count: int = 0
    total: int = 0
    histogram: Histogram | None = None

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        return self.histogram.quantile(share) if self.histogram else 0.0

    def __add__(self, other: "Distribution") -> "Distribution":
        histogram = _join_histograms(self.histogram, other.histogram)
        return Distribution(self.count + other.count, self.total + other.total, histogram)


@dataclass(frozen=True, slots=True)
class Figure:
    """How often something was done, with how many bytes and for how long.

    timed: those of calls whose time is known; ns is their sum, histogram (of nanoseconds) their distribution.
    """

    calls: int = 0
    bytes: int = 0
    timed: int = 0
    ns: int = 0
    histogram: Histogram | None = None

    @property
    def mean_ns(self) -> float:
        """Of those that were timed; 0 if none were."""
        return self.ns / self.timed if self.timed else 0.0

    def __add__(self, other: "Figure") -> "Figure":
        return Figure(
            self.calls + other.calls,
            self.bytes + other.bytes,
            self.timed + other.timed,
            self.ns + other.ns,
            _join_histograms(self.histogram, other.histogram),
        )


@dataclass(frozen=True, slots=True)
class Meter:
    """One measured value, or a distribution of values, of one entity in one interval (contract section 1.7).

    entity: whose service and instance it is told of. labels: in the order in which they are sent; one whose value is
    an entity stands for that process, by whatever id an exporter's backend knows it.
    """

    entity: Entity
    name: str
    labels: tuple[tuple[str, str | Entity], ...]
    value: float | Histogram


def _join_histograms(left: Histogram | None, right: Histogram | None) -> Histogram | None:
    """Of the same bounds."""
    if left is None or right is None:
        return left or right
    return Histogram(left.bounds, sums(left.counts, right.counts))


def sums(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    """Value by value; both are of the same length."""
    return tuple(a + b for a, b in zip(left, right, strict=True))
