"""Who a process is as the SkyWalking agent inside it says (contract section 3.2, AGENT_SENSOR).

The agent keeps rewriting `<TMPDIR or /tmp>/apache_skywalking/process/<pid>/metadata.properties`, as it sees these
names: in its own root, with its own pid. Whatever a process puts there instead, links, pipes and heaps of files
included, can neither lead out of its root nor hold up the scan.
"""

import json
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rover_core.logs import get_logger
from rover_core.model import Entity, Process, ProcessKey
from rover_discovery_host.properties_file import parse_properties

log = get_logger("agent sensor")

_FOLDER = ("apache_skywalking", "process")
_FILE = "metadata.properties"
_REQUIRED = ("layer", "service_name", "instance_name", "process_name")
_MAX_BYTES = 65536
_MAX_ENTRIES = 65536  # of one folder of agents' files
_MAX_LENGTH = 1024  # of a name, as of a rendered expression
_MAX_ITEMS = 64  # labels, properties
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class Sensed:
    """What an agent says of its process."""

    entity: Entity
    properties: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the files of several processes are: the same mounts, the same root, the same folder below it."""

    mounts: str
    root: tuple[int, int]
    folder: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Seat:
    """pids: by which a process's file may go: its own view of its pid first."""

    process: Process
    place: _Place
    pids: tuple[str, ...]


class AgentSensor:
    """Looks for the files. root: where /proc is; refresh_ns: how old a file may be."""

    def __init__(self, root: Path, refresh_ns: int) -> None:
        self._root = str(root)
        self._refresh_ns = refresh_ns
        self._seats: dict[ProcessKey, _Seat] = {}
        self._read: dict[ProcessKey, tuple[tuple[int, int, int], Sensed | None]] = {}

    def look(self, processes: Iterable[Process]) -> dict[ProcessKey, Sensed]:
        """What the agents of these processes say now."""
        seats = [seat for process in processes if not process.kernel_thread and (seat := self._seat(process))]
        self._seats = {seat.process.key: seat for seat in seats}
        self._read = {key: read for key, read in self._read.items() if key in self._seats}
        places: dict[_Place, list[_Seat]] = {}
        for seat in seats:
            places.setdefault(seat.place, []).append(seat)
        return {key: sensed for place in places.values() for key, sensed in self._look_at(place)}

    def _seat(self, process: Process) -> _Seat | None:
        known = self._seats.get(process.key)
        if known and known.process is process:
            return known
        directory = f"{self._root}/{process.pid}"
        try:
            root = os.stat(f"{directory}/root")
            place = _Place(os.readlink(f"{directory}/ns/mnt"), (root.st_dev, root.st_ino), _folder(directory))
            return _Seat(process, place, tuple(dict.fromkeys((_own_pid(directory), str(process.pid)))))
        except OSError:  # gone, or not ours to look at
            return None

    def _look_at(self, seats: Sequence[_Seat]) -> Iterator[tuple[ProcessKey, Sensed]]:
        with suppress(OSError), self._open(seats) as folder:
            names = _names(folder)
            for seat in seats:
                for pid in (pid for pid in seat.pids if pid in names):
                    if sensed := self._sense(seat, pid, folder):
                        yield seat.process.key, sensed
                        break

    @contextmanager
    def _open(self, seats: Sequence[_Seat]) -> Iterator[int]:
        """The folder, through whichever of its processes is still there."""
        for seat in seats:
            with suppress(FileNotFoundError, ProcessLookupError):
                handle = os.open(f"{self._root}/{seat.process.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                break
        else:
            raise FileNotFoundError
        try:
            for component in (*seats[0].place.folder, *_FOLDER):
                inner = os.open(component, _DIRECTORY, dir_fd=handle)
                os.close(handle)
                handle = inner
            yield handle
        finally:
            os.close(handle)

    def _sense(self, seat: _Seat, pid: str, folder: int) -> Sensed | None:
        key = seat.process.key
        with suppress(OSError), _opened(f"{pid}", folder) as handle:
            found = os.fstat(handle)
            fresh = time.time_ns() - found.st_mtime_ns < self._refresh_ns
            if not stat.S_ISREG(found.st_mode) or found.st_uid not in (0, seat.process.uid) or not fresh:
                return None
            identity, known = (found.st_dev, found.st_ino, found.st_mtime_ns), self._read.get(key)
            if known is None or known[0] != identity:
                self._read[key] = identity, self._parse(os.read(handle, _MAX_BYTES), key, known is None)
            return self._read[key][1]
        return None

    def _parse(self, content: bytes, key: ProcessKey, first: bool) -> Sensed | None:
        values = parse_properties(content.decode(errors="replace"))
        missing = [name for name in _REQUIRED if not values.get(name)]
        if missing:
            if first:
                log.warning("agent's file is not complete", pid=key.pid, missing=", ".join(missing))
            return None
        layer, service, instance, name = (_text(values[required]) for required in _REQUIRED)
        labels = [_text(label.strip()) for label in values.get("labels", "").split(",", _MAX_ITEMS)[:_MAX_ITEMS]]
        return Sensed(Entity(layer, service, instance, name, tuple(filter(None, labels))), _properties(values))


@contextmanager
def _opened(pid: str, folder: int) -> Iterator[int]:
    below = os.open(pid, _DIRECTORY, dir_fd=folder)
    try:
        handle = os.open(_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=below)
    finally:
        os.close(below)
    try:
        yield handle
    finally:
        os.close(handle)


def _names(folder: int) -> set[str]:
    """The first so many entries: os.listdir of a folder that a stranger fills would take all memory."""
    with os.scandir(f"/proc/self/fd/{folder}") as entries:
        return {entry.name for entry, _ in zip(entries, range(_MAX_ENTRIES), strict=False)}


def _folder(directory: str) -> tuple[str, ...]:
    """Components of the process's TMPDIR if there is such a folder in its root, else of /tmp."""
    with suppress(OSError, StopIteration), open(f"{directory}/environ", "rb") as file:
        variables = file.read(_MAX_BYTES).split(b"\0")
        value = next(each[7:] for each in variables if each.startswith(b"TMPDIR=")).decode(errors="replace")
        components = tuple(part for part in value.split("/") if part not in ("", "."))
        if ".." not in components and os.path.isdir(f"{directory}/root/{value}"):
            return components
    return ("tmp",)


def _own_pid(directory: str) -> str:
    with open(f"{directory}/status", errors="replace") as file:
        return next((line.split()[-1] for line in file if line.startswith("NSpid:")), "")


def _properties(values: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """The JSON map in `properties`, and the language."""
    found = {"language": values["language"]} if values.get("language") else {}
    with suppress(ValueError, RecursionError):
        more = json.loads(values.get("properties") or "{}")
        found |= {str(name): str(value) for name, value in more.items()} if isinstance(more, dict) else {}
    return tuple((_text(name), _text(value)) for name, value in list(found.items())[:_MAX_ITEMS])


def _text(value: str) -> str:
    r"""Bounded, and encodable: both formats may spell half of a pair (`\ud800`)."""
    return value[:_MAX_LENGTH].encode(errors="replace").decode()
