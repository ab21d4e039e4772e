"""Folded stacks: `process;outermost;…;innermost value`, one line for each distinct stack.

The text every flame graph tool reads. Kernel frames carry the suffix `_[k]`, by which those tools colour them.
Unresolved addresses stay apart (`libfoo.so+0x1f0`), so that they can still be looked up.
"""

from typing import BinaryIO

from rover_core.model import Frame, Profile
from rover_exporter_local.text import encodable
from rover_exporter_local.tree import Place, collapse

_SEPARATORS = str.maketrans({";": ":", "\n": " ", "\r": " "})


class Folded:
    """`.folded` text; the value is the first sample type's."""

    name = "folded"
    extension = "folded"
    binary = False
    description = "folded stacks, one line each"

    def write(self, profile: Profile, out: BinaryIO) -> None:
        stacks = collapse(profile, _label)
        names = [_word(place) for place in stacks.places]
        for path in sorted(stacks.values, key=lambda path: -stacks.values[path]):
            line = ";".join([names[place] for place in path])
            out.write(f"{line} {stacks.values[path]}\n".encode())


def _label(frame: Frame) -> str:
    return frame.label


def _word(place: Place) -> str:
    return encodable(place.name.translate(_SEPARATORS)) + ("_[k]" if place.kernel else "")
