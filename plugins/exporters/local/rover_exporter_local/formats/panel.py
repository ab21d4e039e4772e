"""One profile on a page: the numbers its script draws, and the words around them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from html import escape
from typing import Any

from rover_core.hottest import hottest
from rover_core.model import ProcessKey, Profile
from rover_core.showing import duration_text, facts, nothing_sentence
from rover_core.tables import completeness_sentence
from rover_exporter_local.text import encodable, moment
from rover_exporter_local.tree import CallTree, Kind, build_tree, collapse

# What is narrower than a pixel of a 2,000 pixel wide window at a fiftyfold zoom is left out …
_RESOLUTION = 2_000 * 50
# … and of the rest the smallest, down to a page of three megabytes that opens in half a second.
_MAX_NODES = 300_000
_HOT_FUNCTIONS = 300
_PIDS_SHOWN = 5
_COOL = {"delay", "wait", "blocked", "idle"}


@dataclass(frozen=True, slots=True)
class Panel:
    """words: safe to be put into markup, by their names in `panel.html`. data: for the script, as JSON."""

    words: dict[str, str]
    data: dict[str, Any]


def make_panel(profile: Profile) -> Panel:
    tree = build_tree(collapse(profile), _MAX_NODES, _RESOLUTION)
    words = {
        "facts": "".join(f"<li>{escape(encodable(fact))}</li>" for fact in _facts(profile)),
        "completeness": escape(completeness_sentence(profile.completeness)),
        "whole": "whole" if profile.completeness.kept == profile.completeness.expected else "partial",
        "nothing": escape(encodable(nothing_sentence(profile))),
        "pruned": escape(_pruned(tree)),
    }
    return Panel(words, _data(profile, tree))


def _facts(profile: Profile) -> list[str]:
    start, end = moment(profile.start_ns), moment(profile.end_ns)
    day = "" if start.date() == end.date() else "%Y-%m-%d "
    span = f"{start:%Y-%m-%d %H:%M:%S} to {end:{day}%H:%M:%S %Z}"
    period = f"one sample every {duration_text(profile.period_ns)}" if profile.period_ns else "every event"
    attributes = [f"{name}: {value}" for name, value in facts(profile).items() if name not in {"host", "period"}]
    return [span, duration_text(profile.end_ns - profile.start_ns), period, f"task {profile.task_id}", *attributes]


def _pruned(tree: CallTree) -> str:
    if not tree.pruned_nodes:
        return ""
    share = 100 * tree.pruned_value / tree.total
    return f"{tree.pruned_nodes:,} boxes too small to be seen are summed up as “…” ({share:.2g} % of the total)."


def _data(profile: Profile, tree: CallTree) -> dict[str, Any]:
    used: dict[int, int] = {}
    nodes = [used.setdefault(place, len(used)) for place in tree.places]
    places = [tree.names[place] for place in used]
    modules: dict[str, int] = {}
    processes = _processes(profile)
    kind = profile.sample_types[0]
    return {
        "type": kind.name,
        "unit": kind.unit,
        "period": profile.period_ns,
        "palette": "cool" if kind.name.lower() in _COOL else "warm",
        "names": [place.name for place in places],
        "kinds": [int(place.kind) for place in places],
        "moduleOf": [modules.setdefault(place.module, len(modules)) for place in places],
        "modules": list(modules),
        "processes": {n: processes[place.name] for n, place in enumerate(places) if place.kind == Kind.PROCESS},
        "levels": list(tree.depths),
        "nodes": nodes,
        "own": list(tree.own),
        "hot": [[h.process_name, h.function, h.module, h.self, h.total] for h in hottest(profile, _HOT_FUNCTIONS)],
    }


def _processes(profile: Profile) -> dict[str, str]:
    """By name: `pid 17`, or how many processes and the first of their pids."""
    keys: dict[str, set[ProcessKey]] = defaultdict(set)
    for sample in profile.samples:
        keys[sample.name].add(sample.process)
    return {name: _pids(sorted(key.pid for key in found)) for name, found in keys.items()}


def _pids(pids: list[int]) -> str:
    if len(pids) == 1:
        return f"pid {pids[0]}"
    more = ", …" if len(pids) > _PIDS_SHOWN else ""
    return f"{len(pids)} processes: pid {', '.join(map(str, pids[:_PIDS_SHOWN]))}{more}"
