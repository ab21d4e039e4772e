"""How a profile wants to be shown, for everything that shows one. Floor 1, standard library only.

A profiler says it in attributes whose names have a colon, so that it goes wherever the profile goes, also to a store:

    mark:NAME=VALUE   samples with the label (NAME, VALUE) get an innermost frame with this text, in square brackets
    text:nothing      the sentence for a profile without samples

`{"mark:state=preempted": "preempted"}` draws `[preempted]` on top of the stacks of preempted threads. Labels that no
attribute names are not drawn; formats that have labels of their own (pprof) carry all of them.
"""

from collections.abc import Mapping

from rover_core.model import Labels, Profile

_NOTHING = "No samples: nothing was seen of what was profiled, or it ended too soon."


def marks(labels: Labels, attributes: Mapping[str, str]) -> tuple[str, ...]:
    """The frames that a sample's labels add to its stack, leaf first."""
    texts = (attributes.get(f"mark:{name}={value}") for name, value in reversed(labels))
    return tuple(f"[{text}]" for text in texts if text)


def facts(profile: Profile) -> dict[str, str]:
    """The attributes that are for people: how the profile was made."""
    return {name: value for name, value in profile.attributes.items() if ":" not in name}


def nothing_sentence(profile: Profile) -> str:
    return profile.attributes.get("text:nothing", _NOTHING)


def is_time(profile: Profile) -> bool:
    """Whether what tables and pictures are drawn by is time, in nanoseconds."""
    return profile.sample_types[0].unit == "nanoseconds"


def duration_text(ns: int) -> str:
    """`1.5 ms`, `15 s`, `2 h 5 min`: three digits at most, in the largest unit that fits."""
    if ns >= 3_600_000_000_000:
        hours, rest = divmod(ns // 60_000_000_000, 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    if ns >= 60_000_000_000:
        minutes, rest = divmod(ns // 1_000_000_000, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    for size, unit in ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs")):
        if ns >= size:
            return f"{ns / size:.3g} {unit}" if ns < 999.5 * size else f"{ns / size:.0f} {unit}"
    return f"{ns} ns"
