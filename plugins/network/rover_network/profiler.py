"""The network profiler: one program for all tasks, flows and meters for each."""

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from rover_bpf.maps import Array
from rover_core import procfs
from rover_core.api import Observation, RequestWatch, TlsLibrary, WireProtocol
from rover_core.flows import add_operations, add_steps
from rover_core.logs import get_logger
from rover_core.model import (
    Completeness,
    Entity,
    Flow,
    FlowKey,
    Loss,
    Operation,
    OperationKey,
    Process,
    ProcessKey,
    Sample,
    SamplingRule,
    Task,
    Telemetry,
)
from rover_network.analysis import Analysis
from rover_network.connections import Connection, end_text, read_connections
from rover_network.counting import KERNEL, Counted, Counter, Origin
from rover_network.flows import events, make_flows, merge_flows
from rover_network.folding import Folded, fold
from rover_network.ladder import EXPORTED, in_order
from rover_network.meters import make_meters
from rover_network.operationmeters import make_operation_meters
from rover_network.operations import Found, Line, Socket
from rover_network.peers import REMEMBERED, PeerBook, Recent
from rover_network.recorder import Recorder
from rover_network.rules import rules_of
from rover_network.samples import entity_pairs, name_interfaces, slowest
from rover_network.settings import NetworkSettings, ProtocolAnalyzeSettings, SamplingSettings
from rover_network.tls.finder import TlsProbes

NAME = "NETWORK"
_DEFAULTS = ProtocolAnalyzeSettings()
_SAMPLING = SamplingSettings()
_COLLECT_AT = 0.125  # fill of the kernel's rows, 0..1, from which they are emptied before the next drain is due
log = get_logger("network")


@dataclass(slots=True)
class _Session:
    """A running task: what it watches and what was counted of it since its last batch."""

    task: Task
    targets: dict[ProcessKey, Process] | None
    since_ns: int
    flows: dict[FlowKey, Flow] = field(default_factory=dict)
    lost: int = 0
    shared: int = 0
    evicted: int = 0
    reasons: dict[int, int] = field(default_factory=dict)
    uring: set[int] = field(default_factory=set)
    operations: dict[OperationKey, Operation] = field(default_factory=dict)
    losses: dict[Loss, int] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    rules: Sequence[SamplingRule] = ()
    samples: list[Sample] = field(default_factory=list)

    @property
    def pids(self) -> Collection[int] | None:
        """Of the processes it watches; None for all."""
        return None if self.targets is None else {process.pid for process in self.targets}

    def take_found(self, found: Found) -> None:
        """Keep what is of this session's processes; what became of the bytes is told of all that are watched."""
        targets = self.targets
        ours = (each for each in found.operations if targets is None or each.key.flow.process in targets)
        add_operations(ours, self.operations)
        pids = None if targets is None else {0, *(process.pid for process in targets)}
        _lose(found.losses, pids, self.losses)
        add_steps(found.steps, self.steps)

    def take(self, flows: Iterable[Flow], counted: Counted) -> None:
        """Keep what is of this session's processes."""
        targets = self.targets
        merge_flows((flow for flow in flows if targets is None or flow.key.process in targets), self.flows)
        pids = None if targets is None else {process.pid for process in targets}
        self.lost += counted.tally["rows_full"]  # of all that is watched: the kernel does not tell them apart
        self.shared += counted.tally["rows_shared"]
        self.evicted += counted.evicted
        self.uring.update(pid for pid in counted.uring if pids is None or pid in pids)
        for (pid, reason), count in counted.reasons.items():
            if pids is None or pid in pids:
                self.reasons[reason] = self.reasons.get(reason, 0) + count


def _lose(losses: Mapping[tuple[int, str], int], pids: Collection[int] | None, into: dict[Loss, int]) -> None:
    """Add up those of these processes, or of all; 0 is anybody."""
    for (pid, cause), count in losses.items():
        if (pids is None or pid in pids) and cause in set(Loss):
            into[Loss(cause)] = into.get(Loss(cause), 0) + count


class NetworkProfiler:
    """A `rover_core.api.InformedProfiler` and an `ObservingProfiler`."""

    name = NAME

    def __init__(
        self,
        settings: NetworkSettings,
        analyze: ProtocolAnalyzeSettings = _DEFAULTS,
        protocols: Callable[[], Sequence[WireProtocol]] = tuple,
        sampling: SamplingSettings = _SAMPLING,
        recorder: Recorder | None = None,
        origin: Origin = KERNEL,
        tls_libraries: Callable[[], Sequence[TlsLibrary]] = tuple,
    ) -> None:
        self._tls_libraries = tls_libraries
        self._tls: TlsProbes | None = None
        self._recorder = recorder
        self._origin = origin
        self._host = origin.host()
        self.flush_interval_ns: int | None = settings.report_interval
        self._prefix = settings.meter_prefix
        self._counter: Counter | None = None
        self._sessions: dict[str, _Session] = {}
        self._book = PeerBook(self._host)
        self._entities: Mapping[ProcessKey, Sequence[Entity]] = {}
        self._protocols = protocols
        self._analyze = analyze
        self._sampling = sampling
        self._analysis: Analysis | None = None
        self._flow_keys: Recent[Socket, Line] = Recent()
        self._watches: tuple[RequestWatch, ...] = ()
        self._unobserved: dict[Loss, int] = {}
        self._namespaces: Recent[int, int] = Recent()

    @property
    def workers(self) -> Sequence[int]:
        """Pids of the processes that read what is captured."""
        return self._analysis.pids if self._analysis else ()

    def inform(self, processes: Collection[Process]) -> None:
        self._entities = {process.key: process.entities for process in processes if process.entities}
        if self._recorder:
            self._recorder.processes(processes)

    def start(self, task: Task, processes: Sequence[Process] | None) -> None:
        counter = self._counter or self._open()
        first = not self._sessions
        targets = None if processes is None else {process.key: process for process in processes}
        session = _Session(task, targets, self._origin.now_ns(), rules=rules_of(task, self._sampling.rules))
        try:
            self._collect()
            counter.watch(process.pid for process in targets or ())
        except BaseException:
            if self._counter is None:
                counter.close()
                self._end_analysis()
            raise
        self._counter = counter
        self._sessions[task.id] = session
        self._retarget(counter)
        self._look_for_tls(session.pids)
        if session.rules:
            self._sample()
        if first and self._watches:
            self._tell(self._watches)

    def observe(self, watches: Sequence[RequestWatch]) -> Observation:
        wanted = tuple(watches)
        if wanted != self._watches:
            self._rewatch(wanted)
        if self._counter is None or self._analysis is None:
            return Observation()
        if self._sessions:
            self._analysis.gather(self._counter)
        else:  # without a task there is no tick
            self._follow()
            self._collect()
        lost, self._unobserved = self._unobserved, {}
        return Observation(self._analysis.take_watched(), lost)

    def _rewatch(self, watches: tuple[RequestWatch, ...]) -> None:
        """Watch these and no others. Where that fails nothing is watched."""
        before, self._watches = self._watched, ()
        counter = self._counter = self._counter or self._open()
        try:
            self._tell(watches)
            self._watches = watches
            counter.watch(self._watched - before)
            self._look_for_tls(self._watched - before)
        except BaseException:
            self._watches = ()
            self._tell(())
            raise
        finally:
            counter.unwatch(before - self._watched - self._targeted)
            self._close_if_idle()

    def _tell(self, watches: Sequence[RequestWatch]) -> None:
        """Tell the workers what requests to add up, and whether anything else is wanted."""
        if self._counter and self._analysis:
            self._analysis.watch(self._counter, watches, alone=not self._sessions)

    def _close_if_idle(self) -> None:
        if not (self._sessions or self._watches):
            self.close()

    @property
    def _watched(self) -> set[int]:
        """Pids whose requests are."""
        return {pid for watch in self._watches for pid in watch.pids}

    @property
    def _targeted(self) -> set[int]:
        """Pids of the processes that tasks watch one by one."""
        return {process.pid for session in self._sessions.values() for process in session.targets or ()}

    def _look_for_tls(self, pids: Iterable[int] | None) -> None:
        """pids: None for those of all processes."""
        if self._tls:
            self._tls.look((each.pid for each in procfs.scan() if not each.kernel_thread) if pids is None else pids)

    def _retarget(self, counter: Counter) -> None:
        counter.watch_all(any(session.targets is None for session in self._sessions.values()))

    def _sample(self) -> None:
        """Tell the workers which tasks sample what."""
        if self._counter and self._analysis:
            sampling = {name: (each.rules, each.pids) for name, each in self._sessions.items() if each.rules}
            self._analysis.sample(self._counter, sampling)

    def _unwatch(self, counter: Counter, left: Iterable[ProcessKey]) -> None:
        counter.unwatch({process.pid for process in left} - self._targeted - self._watched)

    def forget(self, task_id: str, process: ProcessKey) -> None:
        session = self._sessions.get(task_id)
        if self._counter and session and session.targets and process in session.targets:
            self._collect()
            del session.targets[process]
            self._unwatch(self._counter, [process])
            if session.rules:
                self._sample()

    def tick(self) -> None:
        if self._counter and self._analysis:
            self._analysis.gather(self._counter)
        self._follow()
        if self._counter and self._counter.fill() > _COLLECT_AT:
            self._collect()

    def _follow(self) -> None:
        """Workers that are new are not counted, and libraries that processes have loaded since are probed."""
        if self._counter and self._analysis:
            self._counter.leave_out({os.getpid(), *self._analysis.processes})
        if self._counter and self._tls:
            self._tls.look(self._counter.mapped())

    def drain(self) -> list[Telemetry]:
        self._collect()
        return [self._telemetry(session) for session in self._sessions.values()]

    def stop(self, task_id: str) -> Telemetry | None:
        if self._counter is None or task_id not in self._sessions:
            return None
        self._collect()
        if self._analysis and self._analysis.waits:
            self._collect()
        session = self._sessions.pop(task_id)
        telemetry = replace(self._telemetry(session), last=True)
        self._unwatch(self._counter, session.targets or ())
        self._retarget(self._counter)
        if session.rules:
            self._sample()
        if self._watches and not self._sessions:
            self._tell(self._watches)
        self._close_if_idle()
        return telemetry

    def close(self) -> None:
        self._sessions.clear()
        self._watches = ()
        if self._tls:
            self._tls.close()
            self._tls = None
        if self._counter:
            self._counter.close()
            self._counter = None
        self._end_analysis()

    def _end_analysis(self) -> None:
        if self._analysis:
            self._analysis.close()
            self._analysis = None

    def _open(self) -> Counter:
        offset_ns = self._origin.offset_ns
        analysis = Analysis(self._protocols(), self._analyze, self._sampling, self._recorder, offset_ns)
        counter = self._origin.open(analysis.layer7)
        try:
            for purpose, why in counter.probes.missing.items():
                log.warning("not measured", what=purpose, reason=why)
            analysis.start(counter)
            counter.leave_out({os.getpid(), *analysis.processes})
            self._tls = counter.tls_probes(self._tls_libraries())
        except BaseException:
            analysis.close()
            counter.close()
            raise
        self._analysis = analysis
        return counter

    def _collect(self) -> None:
        """Take what the kernel has counted and hand every session its share."""
        if self._counter is None or self._analysis is None:
            return
        self._analysis.gather(self._counter)  # first: so the flow of each connection in it is known below
        counted = self._counter.collect()
        folded = fold(counted.keys, counted.rows, self._book.holder)
        connections = list(read_connections(folded.keys, folded.rows))
        self._book.remember(connections, folded)
        keys = self._book.resolve(connections)
        labels = ("", *(protocol.label for protocol in self._analysis.protocols))
        flows = make_flows(keys, connections, folded.rows, labels, folded.sizes)
        if self._analysis.protocols:
            self._note_flows(counted.keys, keys, connections, folded)
        found = self._analysis.put_together(self._counter, counted, self._flow_keys.get)
        samples = [
            (task_id, name_interfaces(sample, partial(self._interface, sample.flow.process.pid)))
            for task_id, sample in self._analysis.take_samples(self._flow_keys.get)
        ]
        if self._recorder:
            times = {"time_ns": self._origin.now_ns(), "now_ns": time.monotonic_ns()}
            lost = found.steps.get("records lost, worker ended", 0)
            self._recorder.interval(counted, times, self._host.facts(), lost)
        if self._watches:
            _lose(found.losses, {0, *self._watched}, self._unobserved)
        for session in self._sessions.values():
            session.take(flows, counted)
            session.take_found(found)
        for task_id, sample in samples:
            if task_id in self._sessions:
                self._sessions[task_id].samples.append(sample)
        for session in self._sessions.values():
            session.samples = slowest(session.samples)

    def _note_flows(
        self, sockets: Array, keys: Sequence[FlowKey], connections: Sequence[Connection], folded: Folded
    ) -> None:
        """Which flow each connection belongs to, for what is read of it."""
        marks = folded.rows["facts"]["tls"].tolist()
        known = zip(keys, connections, marks, strict=True)
        found = [Line(key, end_text(each.remote), bool(tls)) for key, each, tls in known]
        for socket, group in zip(sockets[-REMEMBERED:].tolist(), folded.group[-REMEMBERED:].tolist(), strict=True):
            self._flow_keys.note(socket, found[group])
        for each in connections:
            self._namespaces.note(each.process.pid, each.netns)

    def _interface(self, pid: int, index: int) -> str:
        netns = self._namespaces.get(pid)
        return self._host.interface(pid, netns, index) if netns and index else ""

    def _entities_of(self, session: _Session, process: ProcessKey) -> Sequence[Entity]:
        """Of a process that this session watches, as discovery knows it now, or as it was when the task started."""
        known = (session.targets or {}).get(process)
        if session.targets is not None and known is None:
            return ()
        return self._entities.get(process, known.entities if known else ())

    def _telemetry(self, session: _Session) -> Telemetry:
        now, flows = self._origin.now_ns(), tuple(session.flows.values())
        operations = tuple(session.operations.values())
        exchanges = sum(operation.exchanges for operation in operations)
        kept = events(flows) + exchanges
        untimed = sum(figure.calls - figure.timed for flow in flows for figure in flow.figures.values())
        unpaired = session.losses.pop(Loss.UNPAIRED, 0)  # they are there, as halves
        lost = {Loss.MAP_FULL: session.lost, **session.losses}
        degraded = {Loss.MISSED_EVENT: max(0, untimed), Loss.UNPAIRED: unpaired, Loss.MAP_FULL: session.shared}
        completeness = Completeness(
            kept + sum(lost.values()),
            kept,
            {cause: count for cause, count in lost.items() if count},
            {cause: count for cause, count in degraded.items() if count},
        )

        def entities_of(process: ProcessKey) -> Sequence[Entity]:
            return self._entities_of(session, process)

        meters = make_meters(flows, self._prefix, entities_of)
        meters += make_operation_meters(operations, self._prefix, entities_of)
        telemetry = Telemetry(
            session.task.id,
            NAME,
            session.since_ns,
            now,
            tuple(meters),
            completeness,
            self._attributes(session),
            flows=flows,
            operations=operations,
            samples=tuple(replace(each, entities=entity_pairs(each, entities_of)) for each in session.samples),
            steps=in_order(session.steps | {EXPORTED: exchanges}) if session.steps else {},
        )
        session.since_ns, session.flows, session.lost, session.shared, session.evicted = now, {}, 0, 0, 0
        session.reasons, session.uring = {}, set()
        session.operations, session.losses, session.steps, session.samples = {}, {}, {}, []
        return telemetry

    def _attributes(self, session: _Session) -> dict[str, str]:
        """How it was measured, and what may be missing."""
        names = self._origin.reasons()
        reasons = ", ".join(
            f"{names.get(reason, f'reason {reason}')} {count}" for reason, count in sorted(session.reasons.items())
        )
        counter = self._counter
        missing = {**counter.probes.missing, **counter.capture.unmeasured} if counter else {}
        unread = self._analysis.missing if self._analysis else {}
        refused = self._tls.refused if self._tls else ()
        slow = self._analysis.slow if self._analysis else {}
        said = {
            "probe": self._counter.probes.label if self._counter else "",
            "host": self._origin.node(),
            "not measured": "; ".join(f"{purpose}: {why}" for purpose, why in missing.items()),
            "drop reasons": reasons,
            "io_uring": ", ".join(map(str, sorted(session.uring))),
            "connections forgotten": str(session.evicted or ""),
            "not counted in the kernel": "; ".join(f"{name}: {why}" for name, why in slow.items()),
            "not recognised": "; ".join(f"{name}: {why}" for name, why in unread.items()),
            "TLS not read": "; ".join(f"{each.label}: {each.reason}" for each in refused),
        }
        return {name: text for name, text in said.items() if text}


def create(
    settings: NetworkSettings,
    analyze: ProtocolAnalyzeSettings = _DEFAULTS,
    protocols: Callable[[], Sequence[WireProtocol]] = tuple,
    sampling: SamplingSettings = _SAMPLING,
    tls_libraries: Callable[[], Sequence[TlsLibrary]] = tuple,
) -> NetworkProfiler:
    """The profiler that the plugin hands over. protocols, tls_libraries: called when the first task starts."""
    return NetworkProfiler(settings, analyze, protocols, sampling, tls_libraries=tls_libraries)
