"""The file that `rover record network` writes (docs/recordings.md): frames behind a line of text.

A file is appended to by whole frames and never changed, so that what is there of one whose writer was killed can be
used. Whoever reads it takes it for a stranger's: lengths are bounded and sums are checked before anything else.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from rover_core.errors import RoverError, UsageError

VERSION = 2
MAGIC = b"rover recording of network "
"""What a file begins with; its version and the end of the line follow."""
HEADER, RECORDS, GATHERED, ROWS, INTERVAL, PROCESSES, END = b"H", b"B", b"G", b"R", b"I", b"P", b"E"
"""Kinds of frames."""
LARGEST = 256 << 10
"""Bytes of a frame's content."""
BLOCK = struct.Struct("<QI")
"""What the records' clock (CLOCK_MONOTONIC) was, ns, and which worker's it is: all of GATHERED, and in front of the
records of RECORDS."""
MOST_WORKERS = 64
_FRAME = struct.Struct("<IIc")  # the content's length, CRC-32 of kind and content, kind
_KINDS = {HEADER, RECORDS, GATHERED, ROWS, INTERVAL, PROCESSES, END}
_FIRST_LINE = 64
_CUT = "it ends in the middle of a frame"
_FOR_THE_END = 4096  # bytes of a file
Json = Any


class Frame(NamedTuple):
    kind: bytes
    content: bytes

    def json(self) -> dict[str, Json]:
        """ValueError if it is not an object."""
        try:
            value = json.loads(self.content)
        except RecursionError as error:
            raise ValueError("JSON that is too deep") from error
        if not isinstance(value, dict):
            raise ValueError("JSON that is no object")
        return value


def encoded(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class Writer:
    """Appends frames to an open file of no more than `room` bytes. stopped: why nothing more is written, or "".

    A file that no frame came to is empty: nothing was recorded.
    """

    def __init__(self, out: BinaryIO, room: int) -> None:
        self._fd = out.fileno()
        self._room = room - _FOR_THE_END
        self.stopped = ""
        self.written = 0

    def write(self, frame: Frame) -> bool:
        """False if it is not in the file: there is no room for it, or the file system has none."""
        head = b"" if self.written else MAGIC + b"%d\n" % VERSION
        head += _FRAME.pack(len(frame.content), _sum(frame), frame.kind)
        size = len(head) + len(frame.content)
        if not self.stopped and self.written + size > self._room:
            self.stopped = "the file is as large as it may become"
        if self.stopped:
            return False
        try:
            done = os.write(self._fd, head + frame.content)
            if done < size:  # nearly no space left: half a frame would hide what follows it
                os.ftruncate(self._fd, self.written)
                self.stopped = "no space left"
                return False
        except OSError as error:
            self.stopped = error.strerror or str(error)
            return False
        self.written += size
        return True

    def end(self, summary: Json) -> None:
        """Write the last frame, for which there always is room. Of a file without any other, nothing."""
        if not self.written:
            return
        stopped, self.stopped = self.stopped, ""
        self._room += _FOR_THE_END
        self.write(Frame(END, encoded(summary)))
        self.stopped = stopped or self.stopped


def _sum(frame: Frame) -> int:
    return zlib.crc32(frame.content, zlib.crc32(frame.kind))


class Reader:
    """Reads a file's frames. RoverError if it is none of ours, UsageError if it is of another version.

    damage: once `frames` is through, what was wrong with the rest of the file, or "".
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self.damage = ""
        line = file.readline(_FIRST_LINE)
        if not line.startswith(MAGIC):
            raise RoverError(f"cannot replay {name}", why="it is no recording of network traffic")
        version = line[len(MAGIC) :].strip()
        if version != b"%d" % VERSION:
            told = version.decode("ascii", "replace")
            why = f"it is a recording of version {told!r}, this Rover reads version {VERSION}"
            raise UsageError(f"cannot replay {name}", why=why, remedy="Use the Rover that recorded it")

    def frames(self) -> Iterator[Frame]:
        """All that are whole, up to the first that is not."""
        while head := self._file.read(_FRAME.size):
            frame = self._frame(head)
            if frame is None:
                return
            yield frame

    def _frame(self, head: bytes) -> Frame | None:
        """None, and why in `damage`."""
        if len(head) < _FRAME.size:
            self.damage = _CUT
            return None
        length, checksum, kind = _FRAME.unpack(head)
        if length > LARGEST or kind not in _KINDS:
            self.damage = "what follows is no frame"
            return None
        frame = Frame(kind, self._file.read(length))
        if len(frame.content) < length:
            self.damage = _CUT
        elif _sum(frame) != checksum:
            self.damage = "a frame was changed after it was written"
        return None if self.damage else frame
