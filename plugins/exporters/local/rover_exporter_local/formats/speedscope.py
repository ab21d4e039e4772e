"""Speedscope's file format: one "sampled" profile for each process over one table of frames.

Source: https://www.speedscope.app/file-format-schema.json. The profiles are written one by one and the frames
last, which JSON allows, so that only one process's samples are held as text.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, BinaryIO

from rover_core.model import ProcessKey, Profile, StackSample
from rover_core.showing import marks
from rover_exporter_local.text import encodable

_SCHEMA = "https://www.speedscope.app/file-format-schema.json"
_UNITS = {"nanoseconds", "microseconds", "milliseconds", "seconds", "bytes"}

_Process = tuple[ProcessKey, str]
_FrameKey = tuple[str, str]


class Speedscope:
    """`.speedscope.json`; weights are the first sample type's values. The heaviest process opens first."""

    name = "speedscope"
    extension = "speedscope.json"
    binary = False
    description = "speedscope.app"

    def write(self, profile: Profile, out: BinaryIO) -> None:
        frames: dict[_FrameKey, int] = {}
        head = {"$schema": _SCHEMA, "exporter": "rover", "name": encodable(f"{profile.profiler} {profile.task_id}")}
        out.write(_json(head)[:-1] + b',"activeProfileIndex":0,"profiles":[')
        for position, (process, samples) in enumerate(_by_process(profile)):
            out.write(b"," if position else b"")
            out.write(_json(_sampled(profile, process, samples, frames)))
        table = [{"name": name, "file": module} if module else {"name": name} for name, module in frames]
        out.write(b'],"shared":' + _json({"frames": table}) + b"}\n")


def _by_process(profile: Profile) -> list[tuple[_Process, list[StackSample]]]:
    groups: dict[_Process, list[StackSample]] = defaultdict(list)
    for sample in profile.samples:
        groups[sample.process, sample.name].append(sample)
    return sorted(groups.items(), key=lambda group: -sum(sample.values[0] for sample in group[1]))


def _sampled(
    profile: Profile, process: _Process, samples: list[StackSample], frames: dict[_FrameKey, int]
) -> dict[str, Any]:
    key, name = process
    unit = profile.sample_types[0].unit
    weights = [sample.values[0] for sample in samples]
    return {
        "type": "sampled",
        "name": encodable(f"{name} ({key.pid})"),
        "unit": unit if unit in _UNITS else "none",
        "startValue": 0,
        "endValue": sum(weights),
        "samples": [_stack(sample, profile.attributes, frames) for sample in samples],
        "weights": weights,
    }


def _stack(sample: StackSample, attributes: Mapping[str, str], frames: dict[_FrameKey, int]) -> list[int]:
    """Numbers of frames, root first."""
    leaf_first = [(mark, "") for mark in marks(sample.labels, attributes)]
    leaf_first += [(frame.label, frame.module) for frame in sample.frames]
    keys = ((encodable(name), encodable(module)) for name, module in reversed(leaf_first))
    return [frames.setdefault(key, len(frames)) for key in keys]


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
