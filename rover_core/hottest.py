"""Which functions a profile's value was spent in. Floor 1, standard library only."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rover_core.model import Frame, Profile, StackSample
from rover_core.showing import marks

_Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class HotFunction:
    """One function of all processes of one name.

    pid_count: how many processes of that name the profile holds. self, total: in the unit of the profile's first
    sample type; `self` was spent in the function itself, `total` also in what it called. A recursive function
    counts once a sample, so total never exceeds the profile's. What labels add to a stack (`rover_core.showing`) is a
    function without a module.
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
    by_name: dict[str, list[StackSample]] = defaultdict(list)
    for sample in profile.samples:
        by_name[sample.name].append(sample)
    functions = [each for name, samples in by_name.items() for each in _functions(name, samples, profile.attributes)]
    functions.sort(key=lambda each: (-each.self, -each.total, each.process_name, each.function, each.module))
    return functions[:limit]


def _functions(process_name: str, samples: list[StackSample], attributes: Mapping[str, str]) -> Iterable[HotFunction]:
    own: dict[_Place, int] = defaultdict(int)
    total: dict[_Place, int] = defaultdict(int)
    # By the frames' addresses, which the samples keep alive: hashing a frame costs ten times as much.
    known: dict[int, _Place] = {}
    for sample in samples:
        value, frames = sample.values[0], sample.frames
        for frame in frames:
            if id(frame) not in known:
                known[id(frame)] = (function_name(frame), frame.module)
        places = [(mark, "") for mark in marks(sample.labels, attributes)] if sample.labels else []
        places += [known[id(frame)] for frame in frames]
        for place in set(places):
            total[place] += value
        if places:
            own[places[0]] += value
    pid_count = len({sample.process for sample in samples})
    return (HotFunction(process_name, pid_count, *place, own.get(place, 0), total[place]) for place in total)
