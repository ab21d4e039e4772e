"""What a plugin hands to Rover: the interfaces behind the hooks. Floor 1.

All are structural (`typing.Protocol`): a plugin need not inherit from anything here. `rover_core.testing` has
conformance suites to subclass in a plugin's own tests.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeVar, runtime_checkable

import pluggy

from rover_core.model import Loss, Process, ProcessKey, Profile, Task, Telemetry
from rover_core.policies import Policy, Trigger, Uri
from rover_core.wire import Capture, Connection, Exchange, Limits, TraceContext
from rover_core.wire.sampled import Render, no_reason, operation, untraced

if TYPE_CHECKING:  # workers, which read strangers' bytes, import protocols and need no settings
    from pydantic import BaseModel

hookspec = pluggy.HookspecMarker("rover")
hookimpl = pluggy.HookimplMarker("rover")

Batch = Profile | Telemetry
"""What profilers deliver and exporters take. An exporter ignores what it has no use for."""

Model = TypeVar("Model", bound="BaseModel")


@dataclass(frozen=True, slots=True)
class SettingsSection:
    """A plugin's settings: a pydantic model mounted at a dotted path of the one settings tree.

    path: e.g. `profiling.task.on_cpu`. The environment name of a field is `ROVER_` + the path and the field in
    upper case, unless the field says otherwise (`rover_core.config.env`). Sections may share a path as long as no
    two have a field of the same name.
    """

    path: str
    model: type[BaseModel]


class Settings(Protocol):
    """The effective settings, read only."""

    def section(self, model: type[Model]) -> Model:
        """The section that was mounted with this model. KeyError if no plugin mounted it."""
        ...


class Discoverer(Protocol):
    """Finds processes. `scan` may be called from a worker thread, never twice at a time."""

    name: str

    def scan(self) -> Iterable[Process]:
        """Every process there is now. A process that vanishes meanwhile is left out, not an error."""
        ...


@runtime_checkable
class AnnouncingDiscoverer(Discoverer, Protocol):
    """A discoverer that knows when there is something new: it is then asked at once, beside the regular times."""

    def fileno(self) -> int | None:
        """A descriptor that is readable when processes have changed, until `scan` has taken note; None if there is
        none after all. May block for a moment."""
        ...

    def close(self) -> None:
        """Release the descriptor. `scan` still works."""
        ...


class Profiler(Protocol):
    """Runs any number of tasks of one kind.

    All methods are called from one worker thread, never two at a time, so they may block for as long as a
    compilation takes. What they raise (`RoverError`) ends that task with the reason, not the agent.
    """

    name: str

    @property
    def flush_interval_ns(self) -> int | None:
        """Time between drains; None for `profiling.flush_interval`."""
        ...

    def start(self, task: Task, processes: Sequence[Process] | None) -> None:
        """Begin. processes is None for a task about every process of the host."""
        ...

    def forget(self, task_id: str, process: ProcessKey) -> None:
        """A process of a running task has exited; what was seen of it comes with the next drain."""
        ...

    def tick(self) -> None:
        """Called about five times a second while a task runs, for what cannot wait until the next drain."""
        ...

    def drain(self) -> Sequence[Batch]:
        """What each running task saw since the last drain: one batch a task, empty ones included."""
        ...

    def stop(self, task_id: str) -> Batch | None:
        """End a task and return its last batch, marked as such; None if no such task runs."""
        ...

    def close(self) -> None:
        """Release everything held in the kernel. Tasks still running are over."""
        ...


@runtime_checkable
class InformedProfiler(Profiler, Protocol):
    """A profiler that wants to know all processes of the host and their entities, not only those of its tasks."""

    def inform(self, processes: Collection[Process]) -> None:
        """What discovery has found, before a task starts and whenever it has looked again."""
        ...


@dataclass(frozen=True, slots=True)
class RequestWatch:
    """Requests that these processes answer, as servers, to be added up second by second. protocol: its name."""

    uri: Uri
    pids: frozenset[int]
    protocol: str = "http1"


@dataclass(frozen=True, slots=True)
class RequestSums:
    """What the requests of a watch to one process come to that began in one second and were answered.

    second: of CLOCK_MONOTONIC. duration_ns: of all together, from a request's first byte to its response's last.
    """

    uri: Uri
    pid: int
    second: int
    requests: int
    errors: int
    duration_ns: int


@dataclass(frozen=True, slots=True)
class Observation:
    """lost: pieces of connections that may have held watched requests, by cause."""

    sums: Sequence[RequestSums] = ()
    lost: Mapping[Loss, int] = field(default_factory=dict)


@runtime_checkable
class ObservingProfiler(Profiler, Protocol):
    """A profiler of connections that can add up requests, for less than a task costs."""

    def observe(self, watches: Sequence[RequestWatch]) -> Observation:
        """Add up from now on what these ask for and nothing else; return what was seen since the last call.

        Without watches nothing is observed, and what that needed is released. Raises RoverError if it cannot be.
        """
        ...


class TaskState(StrEnum):
    """OVER: also of tasks that nobody remembers. FAILED: it could not start, or something ended it."""

    WAITING = "waiting"
    RUNNING = "running"
    OVER = "over"
    FAILED = "failed"


class AgentContext(Protocol):
    """The agent as task sources and exporters see it. Only to be used on the agent's event loop."""

    @property
    def processes(self) -> Collection[Process]:
        """The processes found by the last scan."""
        ...

    @property
    def profilers(self) -> Collection[str]:
        """Names of the installed profilers: tasks for others cannot be run."""
        ...

    def find_process(self, pid: int) -> Process | None: ...

    def submit(self, task: Task) -> None:
        """Start a task (now, or at its start time). The same id again replaces the running one."""
        ...

    def cancel(self, task_id: str) -> None:
        """End a task early; what it saw is kept."""
        ...

    def task_state(self, task_id: str) -> TaskState:
        """What became of a task that was submitted."""
        ...

    def publish(self, batch: Batch) -> None:
        """Hand the exporters what no profiler delivers."""
        ...

    async def observe(self, watches: Sequence[RequestWatch]) -> Observation:
        """`ObservingProfiler.observe`, of the profiler that can. Raises RoverError, also where there is none."""
        ...

    def count_lost(self, exporter: str, samples: int, cause: Loss) -> None:
        """So many samples of batches that this exporter had taken were lost after all."""
        ...


class TaskSource(Protocol):
    """Where tasks come from. `run` lives as long as the agent and is cancelled at its end."""

    name: str

    async def run(self, context: AgentContext) -> None: ...


class PolicySource(Protocol):
    """Where continuous profiling's policies come from, and who is told what they began. Used on the event loop."""

    name: str

    @property
    def policies(self) -> Sequence[Policy]:
        """Those in effect, as far as the source knows. Asked for again and again."""
        ...

    async def report(self, trigger: Trigger) -> str:
        """A task is about to be submitted. The id that it is to have: the source's own if that is known in time.

        Should not take longer than a few seconds, since the task waits for it.
        """
        ...


class Exporter(Protocol):
    """Takes results away. Runs on the event loop: what blocks belongs in a thread.

    Each exporter has a bounded queue of its own in front of it, so a slow one loses its own batches (counted as
    `queue full`) and holds up nobody. An `export` that raises counts its batch as `exporter down`. One that keeps
    batches to try again returns, and tells `AgentContext.count_lost` of what it gives up later.
    """

    name: str

    async def start(self, context: AgentContext) -> None:
        """Connect, open. Batches queue meanwhile; one that raises gets none, and is not stopped either."""
        ...

    async def export(self, batch: Batch) -> None: ...

    async def stop(self) -> Sequence[str]:
        """Finish and return what a person would look at: files written, addresses to open. May be empty."""
        ...


@runtime_checkable
class ProfileFormat(Protocol):
    """A file format of profiles. `name` is what `--format` takes; `extension` has no leading dot (`pb.gz`).

    binary: whether the bytes would spoil a terminal.
    """

    name: str
    extension: str
    binary: bool
    description: str

    def write(self, profile: Profile, out: BinaryIO) -> None: ...


@runtime_checkable
class TogetherFormat(ProfileFormat, Protocol):
    """A format that can also hold several profiles in one file, in their order. Others get a file for each."""

    def write_together(self, profiles: Sequence[Profile], out: BinaryIO) -> None:
        """Write them; at least one. They are of the same time and the same processes."""
        ...


@runtime_checkable
class TelemetryFormat(Protocol):
    """A file format of telemetry. One object may be this and a `ProfileFormat`: its methods say what it takes."""

    name: str
    extension: str
    binary: bool
    description: str

    def write_telemetry(self, telemetry: Telemetry, out: BinaryIO) -> None:
        """Write a whole task's, added up."""
        ...


Format = ProfileFormat | TelemetryFormat


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
        """Bytes of the file."""
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


@dataclass(frozen=True, slots=True)
class ExchangeMetric:
    """A number of its own that a protocol has of each exchange: rows, partitions, answers.

    name: after the meter prefix and the protocol's name: `rows` of `mysql` is `mysql_rows`. unit: as people write it.
    value: reads it off an exchange; None where it has none. Its sum, count and histogram are kept by the profiler.
    """

    name: str
    unit: str
    value: Callable[[Exchange], int | None]


@dataclass(frozen=True, slots=True)
class FastPath:
    """How plain exchanges of a protocol are counted in the kernel, without the parser.

    judge: a C header with `static int <name>_request(...)` and `<name>_response(...)`, as docs/writing-a-protocol.md
    says. request: the detail of a request of which only the operation's class and name are known; response: of a
    response of that status. failed: whether a status is an error. All three agree with what `connect` makes of bytes.
    """

    judge: Path
    request: Callable[[str, str], Any]
    response: Callable[[int], Any]
    failed: Callable[[int], bool]


@dataclass(frozen=True, slots=True)
class WireProtocol:
    """A protocol that connections speak: all that recognising it in the kernel and reading it take.

    name: `http1`; of metrics and of the `protocols` setting.
    label: the `protocol` label of metrics (contract section 5.3).
    classifier: a C header with `static int <name>_classify(const unsigned char *head, unsigned int size)`, compiled
    into a program of its own, so that one that does not compile takes nobody along. head: CLASSIFY_BYTES bytes, the
    first of a call's data; those from `size` on are 0. It returns 0 for "not this protocol", 1 for a request, 2 for
    a response, and can call nothing, not even memcmp.
    capture: which bytes the kernel ships.
    connect: makes the parser of a new connection; a module-level function, since workers are processes.
    datagrams: makes the parser of a UDP conversation, where each `feed` is a datagram; None if there is none.
    trace: the trace context that the request carries.
    subject: what sampling rules are about, and what a sampled exchange is called: HTTP's path.
    reason: what an exchange is sampled for by its status, beside being slow or an error: `status_4xx`.
    render: a message as text for people, up to `Rendering.most`, its secrets redacted (`Rendering.redaction`) before
    anything is cut off; None leaves messages out of samples.
    metrics: beside those that every protocol gets (requests, errors, statuses, durations and sizes).
    fast: counts plain exchanges in the kernel; not used beside metrics, which take the parser.
    selector: of CaptureMode.FRAMES, a C header like the classifier's, compiled into a program of its own too, with
    `static int <name>_select(const unsigned char *head, unsigned long long *ship, unsigned long long *skip)` and
    `<NAME>_SELECT_HEAD`. head: so many bytes that begin a frame, 15 at most. It says how many bytes from there on are
    to be shipped and how many behind those are to be left out, and returns 0 for what is no frame.
    continues: what other parsers call it when they hand a connection over (`Connection.switched`): `h2c`.
    """

    name: str
    label: str
    classifier: Path
    capture: Capture
    connect: Callable[[Limits], Connection]
    datagrams: Callable[[Limits], Connection] | None = None
    trace: Callable[[Exchange], TraceContext | None] = untraced
    subject: Callable[[Exchange], str] = operation
    reason: Callable[[Exchange], str] = no_reason
    render: Render | None = None
    metrics: tuple[ExchangeMetric, ...] = ()
    fast: FastPath | None = None
    selector: Path | None = None
    continues: tuple[str, ...] = ()


CLASSIFY_BYTES = 64
"""What a classifier may look at, however few of them came."""
FAST_BYTES = 1024
"""What a fast path's judge may look at."""


@dataclass(frozen=True, slots=True)
class TlsProbe:
    """A place in a file where plain text of encrypted connections passes by.

    function: of the network profiler's eBPF program, what is attached there (docs/hooks.md lists them). offset: in
    the file. on_return: at the return of the function that begins there.
    """

    function: str
    offset: int
    on_return: bool = False


class TlsFile(Protocol):
    """An executable file that a process maps, to be looked at. What is read of it is a stranger's."""

    path: str
    """As the process names it."""
    build_id: str
    """Hexadecimal, "" if it has none."""

    def read(self, offset: int, size: int, /) -> bytes:
        """Up to so many bytes, fewer where the file ends."""
        ...

    def functions(self, names: Collection[str]) -> Mapping[str, int]:
        """Name -> offset in the file, of those of these functions whose names it has kept."""
        ...

    def mentions(self, text: bytes) -> bool:
        """Whether it is among its constants: what a library says of itself, though its names were stripped."""
        ...


class TlsLibrary(Protocol):
    """A library that encrypts connections, and how its plain text can be had."""

    name: str

    def probes(self, file: TlsFile) -> Iterable[TlsProbe]:
        """Where to attach what; none if the library is not in this file. Called once for each file.

        RoverError: it is there, but cannot be probed; the connections of this file alone stay unread, and people are
        told why.
        """
        ...


@dataclass(frozen=True, slots=True)
class Check:
    """Something `rover doctor` looks at only when asked: it takes long, or leaves this host.

    name: `backend` becomes `rover doctor --backend`; help: one line; run: what was found.
    """

    name: str
    help: str
    run: Callable[[Settings], Iterable[Diagnostic]]


class Health(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One line of `rover doctor`. A PROBLEM makes it exit with status 1.

    figures: what was measured, by name with its unit, for `--json`.
    """

    name: str
    health: Health
    detail: str
    remedy: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
