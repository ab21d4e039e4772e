"""What a profiler adds to the command line."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, runtime_checkable

from rover_core.api.checks import Diagnostic
from rover_core.api.profilers import Batch, Profiler
from rover_core.api.protocols import WireProtocol
from rover_core.api.settings import Settings
from rover_core.api.tls import TlsLibrary
from rover_core.model import Process, Profile, Task, Telemetry


@dataclass(frozen=True, slots=True)
class ProfileOption:
    """An option of a profiler's sub-command: `--min-block` for the name `min_block`.

    What `parse` makes of its text becomes `Task.settings[name]`; UsageError or ValueError for nonsense. Not
    given, there is no such setting. metavar: what stands for the value in the help.
    """

    name: str
    metavar: str
    help: str
    parse: Callable[[str], Any]


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class ProfileCommand:
    """What a profiler adds to `rover profile`: a sub-command.

    profiler: name of the profiler; command: `oncpu`; help: one line; options: beside those that all have. delivers:
    the kind of its batches, on which depends how they are shown. require: raises RoverError where this user or this
    host cannot run it, as far as that can be known at once; for who will run it later.
    """

    profiler: str
    command: str
    help: str
    options: tuple[ProfileOption, ...] = ()
    delivers: type[Batch] = Profile
    require: Callable[[], None] = _nothing


@runtime_checkable
class RecordingProfiler(Profiler, Protocol):
    """A profiler that also writes what it reads to a file. It has one task; `close` ends the file."""

    @property
    def written(self) -> int:
        """Bytes of the file; 0 as long as nothing was recorded."""
        ...

    @property
    def stopped(self) -> str:
        """Why nothing more is written before the task is over; "" while all is."""
        ...


class Replay(Protocol):
    """A recording that is read, once. `run` blocks, and is used by one thread."""

    @property
    def processes(self) -> Collection[Process]:
        """Those of the recording that have entities, as far as it was read."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """Sentences about the file, once it was read: what of it could not be used."""
        ...

    def run(self, task: Task) -> Iterator[Telemetry]:
        """What the task's profiler makes of it, in the intervals of then; the last one is marked as such."""
        ...


Protocols = Callable[[], Sequence["WireProtocol"]]

TlsLibraries = Callable[[], Sequence["TlsLibrary"]]


@dataclass(frozen=True, slots=True)
class RecordCommand:
    """What a profiler adds to `rover record`, and to `rover replay` for files that begin with `magic`.

    profiler, command, help, options: as of `ProfileCommand`, whose options replaying has. record: makes the
    profiler that writes to a file of at most so many bytes, with the values of `options`. replay: opens a file;
    RoverError says why it is none. check: what the installed plugins would decide otherwise than was decided when it
    was recorded.
    """

    profiler: str
    command: str
    help: str
    magic: bytes
    record: Callable[[Settings, Protocols, TlsLibraries, BinaryIO, int, Mapping[str, Any]], RecordingProfiler]
    replay: Callable[[Settings, Protocols, BinaryIO], Replay]
    check: Callable[[Settings, Protocols, BinaryIO], Iterable[Diagnostic]]
    options: tuple[ProfileOption, ...] = ()
