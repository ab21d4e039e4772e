"""Frames that were found before: the same few thousand make up nearly all stacks."""

from collections.abc import Hashable

from rover_core.model import Frame

_MAX_FRAMES = 8192


class FrameCache:
    """At most `size` frames (about 300 bytes each). When it is full it starts anew: cheaper than any order kept."""

    def __init__(self, size: int = _MAX_FRAMES) -> None:
        self._size = size
        self._frames: dict[Hashable, Frame] = {}

    def __len__(self) -> int:
        return len(self._frames)

    def get(self, key: Hashable) -> Frame | None:
        return self._frames.get(key)

    def put(self, key: Hashable, frame: Frame) -> Frame:
        if len(self._frames) >= self._size:
            self._frames.clear()
        self._frames[key] = frame
        return frame

    def clear(self) -> None:
        self._frames.clear()
