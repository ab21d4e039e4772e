"""What /proc says of a process's CPU time and threads, and of the host's load, as cheaply as it can be had."""

import os
import resource
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from rover_core.model import ProcessKey
from rover_core.procfs import proc_root

TICKS = os.sysconf("SC_CLK_TCK")
"""Clock ticks in a second (proc(5), utime)."""
_SHARE = 4  # a quarter of the descriptors that the agent may have


class Reading(NamedTuple):
    """ticks: of CPU time, in user and kernel mode, of all threads there have been. threads: there are now."""

    ticks: int
    threads: int


class StatReader:
    """Reads /proc/<pid>/stat through descriptors that are kept open: half the cost of opening it each time.

    A descriptor stays with its process: when the pid is used again it says that there is none (ESRCH).
    """

    def __init__(self, root: Path | None = None, room: int | None = None) -> None:
        self._root = root or proc_root()
        self._room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // _SHARE if room is None else room
        self._open: dict[ProcessKey, int] = {}

    def __len__(self) -> int:
        """Descriptors in use."""
        return len(self._open)

    def read(self, key: ProcessKey) -> Reading | None:
        """None if the process is gone."""
        handle = self._open.get(key)
        if handle is not None:
            return _read(handle, key)
        try:
            handle = os.open(f"{self._root}/{key.pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        reading = _read(handle, key)
        if reading is not None and len(self._open) < self._room:
            self._open[key] = handle
        else:
            os.close(handle)
        return reading

    def keep(self, keys: Collection[ProcessKey]) -> None:
        """Let go of all processes but these."""
        for key in self._open.keys() - keys:
            os.close(self._open.pop(key))

    def close(self) -> None:
        self.keep(())


def _read(handle: int, key: ProcessKey) -> Reading | None:
    try:
        content = os.pread(handle, 1024, 0)
    except OSError:
        return None
    # comm may hold parentheses and blanks: the last ")" ends it. fields[0] is field 3 of proc(5).
    fields = content[content.rfind(b")") + 2 :].split(None, 20)
    if len(fields) < 20 or int(fields[19]) != key.start_ticks:
        return None
    return Reading(int(fields[11]) + int(fields[12]), int(fields[17]))


def read_load(root: Path | None = None) -> float | None:
    """The load average of the last minute; None if it cannot be read."""
    try:
        return float(((root or proc_root()) / "loadavg").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
