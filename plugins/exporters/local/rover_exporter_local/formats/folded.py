"""Folded stacks: `process;outermost;…;innermost value`, one line for each distinct stack.

Time is in microseconds, as offcputime -f and its readers have it; stacks of less than half of one are left out.

The text every flame graph tool reads. Kernel frames carry the suffix `_[k]`, by which those tools colour them.
Unresolved addresses stay apart (`libfoo.so+0x1f0`), so that they can still be looked up.
"""

from typing import BinaryIO

from rover_core.model import Frame, Profile
from rover_core.showing import is_time
from rover_exporter_local.text import encodable
from rover_exporter_local.tree import Place, collapse

_NS_PER_US = 1000
_SEPARATORS = str.maketrans({";": ":", "\n": " ", "\r": " "})


class Folded:
    """`.folded` text; the value is the first sample type's, of time in microseconds."""

    name = "folded"
    extension = "folded"
    binary = False
    description = "folded stacks, one line each"

    def write(self, profile: Profile, out: BinaryIO) -> None:
        stacks = collapse(profile, _label)
        names = [_word(place) for place in stacks.places]
        unit = _NS_PER_US if is_time(profile) else 1
        for path in sorted(stacks.values, key=lambda path: -stacks.values[path]):
            if value := (stacks.values[path] + unit // 2) // unit:
                line = ";".join([names[place] for place in path])
                out.write(f"{line} {value}\n".encode())


def _label(frame: Frame) -> str:
    return frame.label


def _word(place: Place) -> str:
    return encodable(place.name.translate(_SEPARATORS)) + ("_[k]" if place.kernel else "")
