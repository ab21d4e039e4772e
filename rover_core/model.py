"""The records that travel through Rover. Frozen, slotted, standard library only.

Times are nanoseconds: `*_ns`. Wall-clock times count from the Unix epoch. Stacks are leaf first (index 0 is the
innermost frame), as the kernel delivers them and as SkyWalking expects them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True, order=True)
class ProcessKey:
    """Identity of a process, safe against reuse of its pid.

    start_ticks: field 22 of /proc/<pid>/stat, clock ticks (USER_HZ, 1/100 s) from boot to the process's start.
    """

    pid: int
    start_ticks: int


@dataclass(frozen=True, slots=True)
class Entity:
    """A process as a backend sees it (contract section 1.4, EBPFProcessEntityMetadata)."""

    layer: str
    service: str
    instance: str
    process: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Process:
    """A process of this host. `exe` is None for kernel threads and where the link may not be read.

    properties: what else is known of it, as (name, value), by the names of contract section 1.4 (`host_ip`, `pid`,
    `command_line`, `support_ebpf_profiling`) and of its discoverers (`container_id`).
    """

    key: ProcessKey
    ppid: int
    comm: str
    exe: str | None
    cmdline: tuple[str, ...]
    uid: int
    kernel_thread: bool = False
    entities: tuple[Entity, ...] = ()
    properties: tuple[tuple[str, str], ...] = ()

    @property
    def pid(self) -> int:
        return self.key.pid

    @property
    def name(self) -> str:
        """The executable's base name, or the kernel's comm where there is no executable to be seen."""
        return self.exe.removesuffix(" (deleted)").rsplit("/", 1)[-1] if self.exe else self.comm


@dataclass(frozen=True, slots=True)
class Task:
    """An order to profile.

    profiler: name of the profiler (ON_CPU, OFF_CPU, NETWORK or a third party's).
    processes: which processes; None means every process of the host.
    start_ns: wall-clock time to start at; 0 or the past means at once.
    duration_ns: how long, from the actual start; None means until cancelled.
    settings: overrides of the profiler's own settings for this task alone.
    trigger: who ordered it (`command line`, `configuration`, a backend's name, a continuous policy).
    attributes: what all of its batches are to say, beside what the profiler says of them.
    """

    id: str
    profiler: str
    processes: tuple[ProcessKey, ...] | None = None
    start_ns: int = 0
    duration_ns: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    trigger: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SamplingRule:
    """Which exchanges a NETWORK task is to sample, and what to attach (contract section 2.1).

    `Task.settings["sampling"]` holds a tuple of them. uri_regex: searched in the request's path, in RE2's syntax
    (`rover_core.patterns`), or in what else the protocol has of the kind; None is the rule for all that no other
    matches. min_duration_ns: from which duration an exchange is slow; None for never. when_4xx, when_5xx: of HTTP;
    when_error: what any protocol calls an error. max_*_size: bytes of text, None for all of it.
    """

    uri_regex: str | None = None
    min_duration_ns: int | None = None
    when_4xx: bool = False
    when_5xx: bool = False
    attach_request: bool = False
    max_request_size: int | None = None
    attach_response: bool = False
    max_response_size: int | None = None
    when_error: bool = False


class Loss(StrEnum):
    """Why something that happened is not, or not fully, in the data."""

    MAP_FULL = "map full"
    RING_FULL = "ring full"
    QUEUE_FULL = "queue full"
    EXPORTER_DOWN = "exporter down"
    UNSYMBOLIZED = "unsymbolized"
    MISSED_EVENT = "missed event"
    PROCESS_GONE = "process gone"
    TRUNCATED_STACK = "truncated stack"
    BROKEN_STACK = "broken stack"
    GAP = "gap in the bytes"
    UNREADABLE = "unreadable bytes"
    OVER_LIMIT = "over the limit"
    UNPAIRED = "not paired"
    WORKER_ENDED = "worker ended"
    NO_SOCKET = "socket not known"


@dataclass(frozen=True, slots=True)
class Completeness:
    """One entry of the loss ledger: how much of what happened is in the data. Unit: samples (or data points).

    expected = kept + sum(lost.values()): nothing vanishes without a cause.
    degraded counts kept samples that are poorer than they should be (a frame without a name, a cut stack); one
    sample may be degraded for several causes.
    """

    expected: int = 0
    kept: int = 0
    lost: Mapping[Loss, int] = field(default_factory=dict)
    degraded: Mapping[Loss, int] = field(default_factory=dict)

    def __add__(self, other: "Completeness") -> "Completeness":
        return Completeness(
            self.expected + other.expected,
            self.kept + other.kept,
            _add(self.lost, other.lost),
            _add(self.degraded, other.degraded),
        )

    def drop(self, cause: Loss) -> "Completeness":
        """The same entry after everything that was kept got lost for this cause."""
        return Completeness(self.expected, 0, _add(self.lost, {cause: self.kept} if self.kept else {}))

    @property
    def ratio(self) -> float:
        """Share kept, 0..1; 1 when nothing was expected."""
        return self.kept / self.expected if self.expected else 1.0


def _add(left: Mapping[Loss, int], right: Mapping[Loss, int]) -> dict[Loss, int]:
    return {cause: left.get(cause, 0) + right.get(cause, 0) for cause in sorted({*left, *right})}


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a stack.

    symbol: the function's (demangled) name, None if it could not be found.
    module: base name of the mapped file, `[kernel]`, `[vdso]`, or "" where the address lies in no known mapping.
    offset: with a symbol, bytes from its start; else the address within the module's file (or the raw address).
    """

    symbol: str | None
    module: str
    offset: int
    kernel: bool = False

    @property
    def label(self) -> str:
        """What a person reads: the symbol, or `module+0xoffset`."""
        return self.symbol or f"{self.module or '[unknown]'}+{self.offset:#x}"


Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class StackSample:
    """How often (and how long) one process was seen in one place.

    name: the process's name at that time. user, kernel: frames, leaf first; the kernel part lies below (is called
    by) nothing: a whole stack is kernel frames, then user frames. values: one per sample type of the profile.
    labels: what else tells this sample from others of the same stack, as (name, value): `("state", "preempted")`.
    """

    process: ProcessKey
    name: str
    user: tuple[Frame, ...]
    kernel: tuple[Frame, ...]
    values: tuple[int, ...]
    labels: Labels = ()

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The whole stack, leaf first."""
        return self.kernel + self.user


@dataclass(frozen=True, slots=True)
class SampleType:
    """What one value of a sample counts: a name (`samples`, `cpu`, `delay`) and a unit (`count`, `nanoseconds`)."""

    name: str
    unit: str


@dataclass(frozen=True, slots=True)
class Profile:
    """What one task's profiler saw in [start_ns, end_ns): the changes since its previous profile.

    sample_types[0] is what tables and flame graphs are drawn by unless asked otherwise. period_ns: nanoseconds
    between samples, 0 where every event is counted. attributes: how it was made (`probe`, `host`); those with a colon
    in their names say how to show it (`rover_core.showing`). last: the task is over, no other will come.
    """

    task_id: str
    profiler: str
    start_ns: int
    end_ns: int
    sample_types: tuple[SampleType, ...]
    samples: tuple[StackSample, ...]
    completeness: Completeness
    period_ns: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)
    last: bool = False


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by value: counts[i] is how many values v had bounds[i] <= v < bounds[i + 1], the last bound open."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]

    def quantile(self, share: float) -> float:
        """What this share (0..1) of all values is below, as if they lay evenly in their buckets; 0 without any."""
        rank, seen = share * sum(self.counts), 0
        for at, count in enumerate(self.counts):
            if count and seen + count >= rank:
                low = self.bounds[at]
                high = self.bounds[at + 1] if at + 1 < len(self.bounds) else low
                return low + (high - low) * (rank - seen) / count
            seen += count
        return 0.0


@dataclass(frozen=True, slots=True)
class Distribution:
    """Many values: how many, their sum, and how they are distributed."""

    count: int = 0
    total: int = 0
    histogram: Histogram | None = None

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        return self.histogram.quantile(share) if self.histogram else 0.0

    def __add__(self, other: "Distribution") -> "Distribution":
        histogram = _join_histograms(self.histogram, other.histogram)
        return Distribution(self.count + other.count, self.total + other.total, histogram)


@dataclass(frozen=True, slots=True)
class Meter:
    """One measured value, or a distribution of values, of one entity in one interval (contract section 1.7).

    entity: whose service and instance it is told of. labels: in the order in which they are sent; one whose value is
    an entity stands for that process, by whatever id an exporter's backend knows it.
    """

    entity: Entity
    name: str
    labels: tuple[tuple[str, str | Entity], ...]
    value: float | Histogram


@dataclass(frozen=True, slots=True)
class Figure:
    """How often something was done, with how many bytes and for how long.

    timed: those of calls whose time is known; ns is their sum, histogram (of nanoseconds) their distribution.
    """

    calls: int = 0
    bytes: int = 0
    timed: int = 0
    ns: int = 0
    histogram: Histogram | None = None

    @property
    def mean_ns(self) -> float:
        """Of those that were timed; 0 if none were."""
        return self.ns / self.timed if self.timed else 0.0

    def __add__(self, other: "Figure") -> "Figure":
        return Figure(
            self.calls + other.calls,
            self.bytes + other.bytes,
            self.timed + other.timed,
            self.ns + other.ns,
            _join_histograms(self.histogram, other.histogram),
        )


def _join_histograms(left: Histogram | None, right: Histogram | None) -> Histogram | None:
    """Of the same bounds."""
    if left is None or right is None:
        return left or right
    return Histogram(left.bounds, _sum(left.counts, right.counts))


def endpoint_text(address: str, port: int) -> str:
    """`10.0.0.1:80`, `[::1]:53`."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of what a process exchanges with somebody.

    process, name: where it is a process that is watched too. address: of the other end, without port, "" where it has
    none; port: 0 where ports are not told apart. local: it is on this host.
    """

    process: ProcessKey | None = None
    name: str = ""
    address: str = ""
    port: int = 0
    local: bool = False

    @property
    def label(self) -> str:
        """What a person reads: `nginx (4711)`, `10.0.0.1:80`, `[::1]:53`, `10.0.0.1`."""
        if self.process:
            return f"{self.name or 'process'} ({self.process.pid})"
        if self.port:
            return endpoint_text(self.address, self.port)
        return self.address or ("this host" if self.local else "unknown")


@dataclass(frozen=True, slots=True)
class FlowKey:
    """Who exchanges something with whom, as what. role: `client`, `server`; transport: `tcp`, `udp`, `unix`."""

    process: ProcessKey
    name: str
    role: str
    transport: str
    peer: Peer


@dataclass(frozen=True, slots=True)
class Flow:
    """What went on between a process and one peer, over however many connections, as the process's side saw it.

    address: of the other end, with its port, as the last connection had it: `10.0.0.1:80`, "" where there is none.
    figures: by name (`read`, `write`, `connect`, ...). counts: what has neither bytes nor a time (`retransmits`).
    protocol: the label of what is spoken (`http`), "" if that is not known. ssl: whether some of it is over TLS.
    """

    key: FlowKey
    address: str
    connections: int
    figures: Mapping[str, Figure]
    counts: Mapping[str, int]
    protocol: str = ""
    ssl: bool = False

    def __add__(self, other: "Flow") -> "Flow":
        """Of the same key, at another time. connections: the greater number, since some may be the same."""
        names, counts = self.figures.keys() | other.figures.keys(), self.counts.keys() | other.counts.keys()
        return Flow(
            self.key,
            other.address or self.address,
            max(self.connections, other.connections),
            {name: self.figures.get(name, Figure()) + other.figures.get(name, Figure()) for name in names},
            {name: self.counts.get(name, 0) + other.counts.get(name, 0) for name in counts},
            self.protocol or other.protocol,
            self.ssl or other.ssl,
        )


@dataclass(frozen=True, slots=True)
class OperationKey:
    """What was asked of whom. protocol: its name (`http1`); operation_class, operation: `GET`, `GET /users/{}`."""

    flow: FlowKey
    protocol: str
    operation_class: str
    operation: str


@dataclass(frozen=True, slots=True)
class Operation:
    """All exchanges of one operation between a process and one peer.

    label: the protocol's in metrics (`http`). address: as of a flow. exchanges: requests that were seen, and
    responses whose requests were not; errors: as the protocol means them. statuses: exchanges by status, "" without a
    response. durations: ns, of those whose both halves were seen. request_sizes, response_sizes: bytes. metrics: the
    protocol's own, by name. ssl: whether some of them were over TLS.
    """

    key: OperationKey
    label: str
    address: str
    exchanges: int
    requests: int
    errors: int
    statuses: Mapping[str, int]
    durations: Distribution
    request_sizes: Distribution
    response_sizes: Distribution
    metrics: Mapping[str, Distribution] = field(default_factory=dict)
    ssl: bool = False

    def __add__(self, other: "Operation") -> "Operation":
        """Of the same key, at another time; the key may differ where operations are put together."""
        statuses, metrics = self.statuses.keys() | other.statuses.keys(), self.metrics.keys() | other.metrics.keys()
        none = Distribution()
        return Operation(
            self.key,
            self.label,
            other.address or self.address,
            self.exchanges + other.exchanges,
            self.requests + other.requests,
            self.errors + other.errors,
            {name: self.statuses.get(name, 0) + other.statuses.get(name, 0) for name in sorted(statuses)},
            self.durations + other.durations,
            self.request_sizes + other.request_sizes,
            self.response_sizes + other.response_sizes,
            {name: self.metrics.get(name, none) + other.metrics.get(name, none) for name in sorted(metrics)},
            self.ssl or other.ssl,
        )


class TraceContext(NamedTuple):
    """What a request says of the trace that it is part of.

    provider: `skywalking`, or `zipkin` (B3, and W3C's, whose ids have the same form). segment_id: SkyWalking's.
    """

    provider: str
    trace_id: str
    segment_id: str
    span_id: str


@dataclass(frozen=True, slots=True)
class Syscall:
    """A system call that moved a part of a sampled message (contract section 5.7).

    function: as the contract spells it (`Write`, `Recvfrom`). start_ns, end_ns: wall-clock. packets, packet_bytes:
    what the kernel made of it. interface: its name, "" if unknown. rtt_us: smoothed round-trip time, 0 if not seen.
    """

    function: str
    start_ns: int
    end_ns: int
    packets: int = 0
    packet_bytes: int = 0
    interface: str = ""
    interface_index: int = 0
    rtt_us: int = 0


@dataclass(frozen=True, slots=True)
class SampledMessage:
    """The request or the response of a sampled exchange, as text without its secrets.

    start_ns, end_ns: wall-clock, of its first and last byte. size: bytes on the wire.
    """

    start_ns: int
    end_ns: int
    size: int
    text: str
    syscalls: tuple[Syscall, ...] = ()


@dataclass(frozen=True, slots=True)
class SampledExchange:
    """A request and its response that a sampling rule asked for.

    protocol: the label of its protocol (contract section 5.3). reason: `slow`, `status_4xx`, `status_5xx`, `error`.
    operation: its kind (`GET`). subject: what rules are about: HTTP's request target without its query; secrets are
    redacted. status: as the protocol writes it. start_ns: wall-clock. request, response: None unless the rule wants
    them attached.
    """

    protocol: str
    reason: str
    operation: str
    subject: str
    status: str
    start_ns: int
    duration_ns: int
    ssl: bool = False
    trace: TraceContext | None = None
    request: SampledMessage | None = None
    response: SampledMessage | None = None

    @property
    def end_ns(self) -> int:
        return self.start_ns + self.duration_ns


@dataclass(frozen=True, slots=True)
class Sample:
    """A sampled exchange and who had it.

    address: of the other end, with its port, "" where there is none. entities: of the process, each with the peer's
    of the same service and instance, as in meters' labels; None where it has none.
    """

    flow: FlowKey
    address: str
    exchange: SampledExchange
    entities: tuple[tuple[Entity, Entity | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What one task's profiler measured in [start_ns, end_ns) that is not stacks: changes since its previous one.

    task_id: "" for what was measured for no task: meters that are only passed on.
    meters: as a backend takes them, of processes that it knows; flows: the same for people, of all.
    samples: exchanges that sampling rules asked for, the slowest of each flow and reason first.
    meters: as a backend takes them, of processes that it knows; flows: the same for people, of all. operations: what
    was asked over them, where the protocol is known. steps: what happened at each step from a call in the kernel to
    an exchange, of all that is watched: where something is missing they tell where it went.
    The unit of completeness is the event that was to be measured. attributes, last: as with `Profile`.
    """

    task_id: str
    profiler: str
    start_ns: int
    end_ns: int
    meters: tuple[Meter, ...]
    completeness: Completeness
    attributes: Mapping[str, str] = field(default_factory=dict)
    last: bool = False
    flows: tuple[Flow, ...] = ()
    samples: tuple[Sample, ...] = ()
    operations: tuple[Operation, ...] = ()
    steps: Mapping[str, int] = field(default_factory=dict)


_Place = tuple[ProcessKey, str, tuple[Frame, ...], tuple[Frame, ...], Labels]


class ProfileMerger:
    """Adds up profiles of one task: equal stacks become one sample.

    room: stacks to keep at most; beyond it the lightest half is let go and counted in `let_go` (first sample type),
    so a run of weeks stays small. None keeps all.
    """

    def __init__(self, room: int | None = None) -> None:
        self._room = room
        self._totals: dict[_Place, tuple[int, ...]] = {}
        self._last: Profile | None = None
        self._start_ns = 0
        self._completeness = Completeness()
        self._attributes: dict[str, str] = {}
        self.let_go = 0

    def add(self, profile: Profile) -> None:
        if self._last is None:
            self._start_ns = profile.start_ns
        self._start_ns = min(self._start_ns, profile.start_ns)
        self._completeness += profile.completeness
        self._attributes.update(profile.attributes)
        for sample in profile.samples:
            place = (sample.process, sample.name, sample.user, sample.kernel, sample.labels)
            known = self._totals.get(place)
            self._totals[place] = sample.values if known is None else _sum(known, sample.values)
        if self._room and len(self._totals) > self._room:
            self._thin_out(self._room // 2)
        self._last = replace(profile, samples=(), end_ns=max(profile.end_ns, self._last.end_ns if self._last else 0))

    def _thin_out(self, keep: int) -> None:
        heaviest = sorted(self._totals.items(), key=lambda item: item[1][0], reverse=True)
        self.let_go += sum(values[0] for _, values in heaviest[keep:])
        self._totals = dict(heaviest[:keep])

    def result(self) -> Profile | None:
        """The sum; None if nothing was added."""
        if self._last is None:
            return None
        return replace(
            self._last,
            start_ns=self._start_ns,
            samples=tuple(StackSample(*p[:4], values, p[4]) for p, values in self._totals.items()),
            completeness=self._completeness,
            attributes=self._attributes,
        )


def merge_profiles(profiles: Iterable[Profile]) -> Profile:
    """One profile out of several of the same task. Raises ValueError for none."""
    merger = ProfileMerger()
    for profile in profiles:
        merger.add(profile)
    result = merger.result()
    if result is None:
        raise ValueError("no profile to merge")
    return result


def _sum(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(left, right, strict=True))
