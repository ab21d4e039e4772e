"""The network profiler: one program for all tasks, flows and meters for each."""

import platform
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rover_core.logs import get_logger
from rover_core.model import Completeness, Entity, Flow, FlowKey, Loss, Process, ProcessKey, Task, Telemetry
from rover_network.connections import read_connections
from rover_network.counter import Counted, NetworkCounter
from rover_network.dropreasons import drop_reasons
from rover_network.flows import events, make_flows, merge_flows
from rover_network.host import Host
from rover_network.meters import make_meters
from rover_network.peers import PeerBook
from rover_network.settings import NetworkSettings

NAME = "NETWORK"
_COLLECT_AT = 0.5  # fill of the kernel's rows, 0..1, from which they are emptied before the next drain is due
log = get_logger("network")


@dataclass(slots=True)
class _Session:
    """A running task: what it watches and what was counted of it since its last batch."""

    task: Task
    targets: dict[ProcessKey, Process] | None
    since_ns: int
    flows: dict[FlowKey, Flow] = field(default_factory=dict)
    lost: int = 0
    evicted: int = 0
    reasons: dict[int, int] = field(default_factory=dict)
    uring: set[int] = field(default_factory=set)

    def take(self, flows: Iterable[Flow], counted: Counted) -> None:
        """Keep what is of this session's processes."""
        targets = self.targets
        merge_flows((flow for flow in flows if targets is None or flow.key.process in targets), self.flows)
        pids = None if targets is None else {process.pid for process in targets}
        self.lost += counted.tally["rows_full"]  # of all that is watched: the kernel does not tell them apart
        self.evicted += counted.evicted
        self.uring.update(pid for pid in counted.uring if pids is None or pid in pids)
        for (pid, reason), count in counted.reasons.items():
            if pids is None or pid in pids:
                self.reasons[reason] = self.reasons.get(reason, 0) + count


class NetworkProfiler:
    """A `rover_core.api.InformedProfiler`."""

    name = NAME

    def __init__(self, settings: NetworkSettings) -> None:
        self.flush_interval_ns: int | None = settings.report_interval
        self._prefix = settings.meter_prefix
        self._counter: NetworkCounter | None = None
        self._sessions: dict[str, _Session] = {}
        self._book = PeerBook(Host())
        self._entities: Mapping[ProcessKey, Sequence[Entity]] = {}

    def inform(self, processes: Collection[Process]) -> None:
        self._entities = {process.key: process.entities for process in processes if process.entities}

    def start(self, task: Task, processes: Sequence[Process] | None) -> None:
        counter = self._counter or _open()
        targets = None if processes is None else {process.key: process for process in processes}
        session = _Session(task, targets, time.time_ns())
        try:
            self._collect()
            counter.watch(process.pid for process in targets or ())
        except BaseException:
            if self._counter is None:
                counter.close()
            raise
        self._counter = counter
        self._sessions[task.id] = session
        self._retarget(counter)

    def _retarget(self, counter: NetworkCounter) -> None:
        counter.watch_all(any(session.targets is None for session in self._sessions.values()))

    def _unwatch(self, counter: NetworkCounter, left: Iterable[ProcessKey]) -> None:
        wanted = {process.pid for session in self._sessions.values() for process in session.targets or ()}
        counter.unwatch({process.pid for process in left} - wanted)

    def forget(self, task_id: str, process: ProcessKey) -> None:
        session = self._sessions.get(task_id)
        if self._counter and session and session.targets and process in session.targets:
            self._collect()
            del session.targets[process]
            self._unwatch(self._counter, [process])

    def tick(self) -> None:
        if self._counter and self._counter.fill() > _COLLECT_AT:
            self._collect()

    def drain(self) -> list[Telemetry]:
        self._collect()
        return [self._telemetry(session) for session in self._sessions.values()]

    def stop(self, task_id: str) -> Telemetry | None:
        if self._counter is None or task_id not in self._sessions:
            return None
        self._collect()
        session = self._sessions.pop(task_id)
        telemetry = replace(self._telemetry(session), last=True)
        self._unwatch(self._counter, session.targets or ())
        self._retarget(self._counter)
        if not self._sessions:
            self.close()
        return telemetry

    def close(self) -> None:
        self._sessions.clear()
        if self._counter:
            self._counter.close()
            self._counter = None

    def _collect(self) -> None:
        """Take what the kernel has counted and hand every session its share."""
        if self._counter is None:
            return
        counted = self._counter.collect()
        connections = list(read_connections(counted.keys, counted.rows))
        keys = self._book.resolve(connections)
        flows = make_flows(keys, connections, counted.rows)
        for session in self._sessions.values():
            session.take(flows, counted)

    def _entities_of(self, session: _Session, process: ProcessKey) -> Sequence[Entity]:
        """Of a process that this session watches, as discovery knows it now, or as it was when the task started."""
        known = (session.targets or {}).get(process)
        if session.targets is not None and known is None:
            return ()
        return self._entities.get(process, known.entities if known else ())

    def _telemetry(self, session: _Session) -> Telemetry:
        now, flows = time.time_ns(), tuple(session.flows.values())
        kept = events(flows)
        untimed = sum(figure.calls - figure.timed for flow in flows for figure in flow.figures.values())
        completeness = Completeness(
            kept + session.lost,
            kept,
            {Loss.MAP_FULL: session.lost} if session.lost else {},
            {Loss.MISSED_EVENT: untimed} if untimed > 0 else {},
        )
        meters = make_meters(flows, self._prefix, lambda process: self._entities_of(session, process))
        telemetry = Telemetry(
            session.task.id,
            NAME,
            session.since_ns,
            now,
            tuple(meters),
            completeness,
            self._attributes(session),
            flows=flows,
        )
        session.since_ns, session.flows, session.lost, session.evicted = now, {}, 0, 0
        session.reasons, session.uring = {}, set()
        return telemetry

    def _attributes(self, session: _Session) -> dict[str, str]:
        """How it was measured, and what may be missing."""
        names = drop_reasons()
        reasons = ", ".join(
            f"{names.get(reason, f'reason {reason}')} {count}" for reason, count in sorted(session.reasons.items())
        )
        missing = self._counter.probes.missing if self._counter else {}
        said = {
            "probe": self._counter.probes.label if self._counter else "",
            "host": platform.node(),
            "not measured": "; ".join(f"{purpose}: {why}" for purpose, why in missing.items()),
            "drop reasons": reasons,
            "io_uring": ", ".join(map(str, sorted(session.uring))),
            "connections forgotten": str(session.evicted or ""),
        }
        return {name: text for name, text in said.items() if text}


def _open() -> NetworkCounter:
    counter = NetworkCounter()
    for purpose, why in counter.probes.missing.items():
        log.warning("not measured", what=purpose, reason=why)
    return counter


def create(settings: NetworkSettings) -> NetworkProfiler:
    """The profiler that the plugin hands over."""
    return NetworkProfiler(settings)
