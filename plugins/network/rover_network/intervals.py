"""What a worker makes of exchanges between two reports: sums and distributions, in bounded memory.

Standard library only: it lives in workers. Both sides know the bounds of the buckets from here.
"""

from bisect import bisect_right
from typing import Any

from rover_core.wire import Exchange

_MS = 1_000_000
DURATION_BOUNDS_MS = (
    *(1, 2, 5, 10, 15, 20, 25, 30, 40, 45, 50, 60, 65, 70, 80, 90, 100, 110, 130, 150, 170, 200, 230, 260, 290, 330),
    *(
        380,
        430,
        480,
        500,
        600,
        700,
        800,
        900,
        1000,
        1100,
        1300,
        1500,
        1800,
        2000,
        5000,
        10_000,
        15_000,
        20_000,
        30_000,
    ),
)
"""Contract section 5.5."""
_FINER_US = (0, 10, 15, 20, 30, 40, 50, 70, 100, 150, 200, 300, 400, 500, 700, 1500, 3000, 4000, 7000)
DURATION_BOUNDS = tuple(sorted({*(1000 * us for us in _FINER_US), *(_MS * ms for ms in DURATION_BOUNDS_MS)}))
"""The contract's, in nanoseconds, and others between and below them, for quantiles that say something."""
SIZE_BOUNDS = (
    *(256, 512, 1048, 1536, 2048, 3072, 5120, 8192, 10240, 15360, 20480, 35840, 51200, 76800, 102400, 204800, 512000),
    *(819200, 1048576, 1572864, 2097152, 5242880, 10485760, 20971520, 52428800),
)
"""Contract section 5.5 (1048 is its own). What is smaller is in the first bucket."""
OTHER = "other"
"""Stands for the operations beyond the limit."""
LONGEST = 200  # characters of an operation, its class and its status; each is a stranger's

Spread = list[Any]
"""[count, sum, {bucket: count}]"""


def spread() -> Spread:
    return [0, 0, {}]


def spread_value(into: Spread, value: int, bounds: tuple[int, ...]) -> None:
    into[0] += 1
    into[1] += value
    bucket = bisect_right(bounds, value, 1) - 1
    buckets = into[2]
    if bucket in buckets:
        buckets[bucket] += 1
    else:
        buckets[bucket] = 1


class Sums:
    """What exchanges of one connection, operation and status come to."""

    __slots__ = ("durations", "errors", "exchanges", "metrics", "requested", "requests", "responded")

    def __init__(self) -> None:
        self.exchanges = self.requests = self.errors = 0
        self.durations = spread()
        self.requested = spread()
        self.responded = spread()
        self.metrics: dict[str, Spread] = {}

    def add(self, exchange: Exchange) -> None:
        _, _, _, error, request, response = exchange
        self.exchanges += 1
        if error:
            self.errors += 1
        if request is not None:
            self.requests += 1
            spread_value(self.requested, request.size, SIZE_BOUNDS)
        if response is not None:
            spread_value(self.responded, response.size, SIZE_BOUNDS)
            if request is not None:  # Exchange.duration_ns, without asking again whether both are there
                duration_ns = response.end_ns - request.start_ns
                spread_value(self.durations, duration_ns if duration_ns > 0 else 0, DURATION_BOUNDS)

    def told(self) -> list[Any]:
        """For JSON."""
        numbers = [self.exchanges, self.requests, self.errors]
        return [*numbers, self.durations, self.requested, self.responded, self.metrics]


class Interval:
    """room: sums to keep at most. Beyond half of it operations are no longer told apart, beyond it nothing is kept.

    lost: exchanges for which there was no room.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._sums: dict[tuple[Any, str, str, str], Sums] = {}
        self.lost = 0

    def __len__(self) -> int:
        return len(self._sums)

    def sums(self, place: Any, exchange: Exchange) -> Sums | None:
        """Where this exchange belongs. place: the connection, the role and the protocol."""
        kind, operation, status, _, _, _ = exchange
        sums = self._sums.get((place, kind, operation, status))
        if sums is None:
            kind, operation, status = kind[:LONGEST], operation[:LONGEST], status[:LONGEST]
            if len(self._sums) >= self._room // 2:
                kind = operation = OTHER
            sums = self._sums.get((place, kind, operation, status))
            if sums is None:
                if len(self._sums) >= self._room:
                    self.lost += 1
                    return None
                sums = self._sums[place, kind, operation, status] = Sums()
        sums.add(exchange)
        return sums

    def take(self) -> list[list[Any]]:
        """Rows for JSON, and begin anew: [place..., class, operation, status, sums...]."""
        taken, self._sums, self.lost = self._sums, {}, 0
        return [[*place, *names, *sums.told()] for (place, *names), sums in taken.items()]
