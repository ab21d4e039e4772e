"""Which functions a profile's value was spent in. Floor 1, standard library only."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from rover_core.model import Frame, Profile


@dataclass(frozen=True, slots=True)
class HotFunction:
    """One function of all processes of one name.

    pid_count: how many processes of that name the profile holds. self, total: in the unit of the profile's first
    sample type; `self` was spent in the function itself, `total` also in what it called. A recursive function
    counts once a sample, so total never exceeds the profile's.
    """

    process_name: str
    pid_count: int
    function: str
    module: str
    self: int
    total: int


def function_name(frame: Frame) -> str:
    """What to group by: the symbol, or one name for all unresolved addresses of a module.

    `Frame.label` keeps addresses apart, which scatters a library without symbols over a hundred small rows.
    """
    return frame.symbol or (f"{frame.module} (no symbol)" if frame.module else "[unknown]")


def total_value(profile: Profile) -> int:
    """The sum of the first sample type's values."""
    return sum(sample.values[0] for sample in profile.samples)


def hottest(profile: Profile, limit: int) -> list[HotFunction]:
    """At most `limit` functions, by their own value, then by their total."""
    own: dict[tuple[str, str, str], int] = defaultdict(int)
    total: dict[tuple[str, str, str], int] = defaultdict(int)
    for sample in profile.samples:
        value = sample.values[0]
        places = [(sample.name, function_name(frame), frame.module) for frame in sample.frames]
        for place in set(places):
            total[place] += value
        if places:
            own[places[0]] += value
    order = sorted(total, key=lambda place: (-own.get(place, 0), -total[place], place))
    pids = _pids_by_name(profile)
    return [HotFunction(p[0], pids[p[0]], p[1], p[2], own.get(p, 0), total[p]) for p in order[:limit]]


def _pids_by_name(profile: Profile) -> dict[str, int]:
    seen: Iterable[tuple[str, object]] = {(sample.name, sample.process) for sample in profile.samples}
    counts: dict[str, int] = defaultdict(int)
    for name, _ in seen:
        counts[name] += 1
    return counts
