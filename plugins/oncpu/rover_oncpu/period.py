"""Which sampling periods make sense."""

from typing import Any

from rover_core.config.types import format_duration, parse_duration
from rover_core.errors import UsageError

SHORTEST_PERIOD_NS = 100_000
"""Below 100 us a tick costs the profiled program a noticeable share of its time."""


def check_period(period: Any) -> int:
    """Nanoseconds of a task's period, given as such or as text. UsageError if it makes no sense."""
    try:
        period_ns = parse_duration(period) if isinstance(period, str) else int(period)
    except ValueError as error:
        raise UsageError("the sampling period is not usable", why=str(error)) from error
    if not SHORTEST_PERIOD_NS <= period_ns <= 1_000_000_000:
        raise UsageError(
            f"a sampling period of {format_duration(period_ns)} is not usable",
            why="the shortest is 100us, the longest 1s",
            remedy="9ms, the default, is 111 samples a second",
        )
    return period_ns
