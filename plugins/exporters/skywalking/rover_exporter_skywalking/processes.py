"""Which processes the backend knows, and by which ids. No network here."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from rover_core.identity.redaction import command_line
from rover_core.model import Entity, Process, ProcessKey
from rover_exporter_skywalking.naming import clean, identity, in_cluster, to_message
from rover_exporter_skywalking.protocol.common_pb2 import KeyStringValuePair
from rover_exporter_skywalking.protocol.process_pb2 import (
    EBPFHostProcessMetadata,
    EBPFKubernetesProcessMetadata,
    EBPFProcessPingPkg,
    EBPFProcessProperties,
    EBPFReportProcessDownstream,
)

_SUPPORTED = "support_ebpf_profiling"
_MOST_TEXT = 4096  # bytes of a property: command lines may have megabytes
_IDS_KEPT = 20_000  # also of processes that are gone: what was measured of them may still be on its way


@dataclass(slots=True)
class Known:
    """An entity of this host.

    spokesman: the process it is reported with. keys: every process that is this entity, since the backend's ids do
    not depend on pids (contract section 1.4). tries: reports in vain since; not_before: the beat of the next try.
    """

    entity: Entity
    spokesman: Process
    keys: tuple[ProcessKey, ...]
    reported: bool = False
    tries: int = 0
    not_before: int = 0

    def to_report(self) -> EBPFProcessProperties:
        properties = dict(self.spokesman.properties)
        details = {"pid": str(self.spokesman.pid), _SUPPORTED: _supported(self.spokesman), **properties}
        if "command_line" not in details:
            details["command_line"] = command_line(self.spokesman.cmdline, redacted=True)
        entity, pid = to_message(self.entity), self.spokesman.pid
        pairs = [_pair(key, value) for key, value in details.items()]
        if "pod_name" in properties:
            pod = EBPFKubernetesProcessMetadata(entity=entity, pid=pid, properties=pairs)
            return EBPFProcessProperties(k8sProcess=pod)
        host = EBPFHostProcessMetadata(entity=entity, pid=pid, properties=pairs)
        return EBPFProcessProperties(hostProcess=host)

    def to_ping(self) -> EBPFProcessPingPkg:
        return EBPFProcessPingPkg(
            entityMetadata=to_message(self.entity), properties=[_pair(_SUPPORTED, _supported(self.spokesman))]
        )


@dataclass(slots=True)
class ProcessBook:
    """The entities of the last scan and the backend's ids of them. cluster: `core.cluster_name`."""

    cluster: str = ""
    retry_within: int = 10
    _known: dict[Entity, Known] = field(default_factory=dict)
    _ids: dict[Entity, str] = field(default_factory=dict)
    _entities: dict[str, Entity] = field(default_factory=dict)
    _scanned: list[Process] = field(default_factory=list)

    def update(self, processes: Collection[Process]) -> None:
        """Take over what a scan found; what it did not find is forgotten."""
        scanned = list(processes)
        if scanned == self._scanned:  # nearly always: then they are the same objects, and this costs nothing
            return
        self._scanned = scanned
        found: dict[Entity, list[tuple[Entity, Process]]] = {}
        for process in processes:
            if not process.kernel_thread:
                for entity in process.entities:
                    named = in_cluster(entity, self.cluster)
                    found.setdefault(identity(named), []).append((named, process))
        self._known = {key: self._merged(key, members) for key, members in found.items()}

    def _merged(self, key: Entity, members: Sequence[tuple[Entity, Process]]) -> Known:
        entity, spokesman = min(members, key=_rank)
        keys = tuple(process.key for _, process in members)
        known = self._known.get(key)
        if known is None or known.spokesman.key != spokesman.key:
            return Known(entity, spokesman, keys)
        known.entity, known.spokesman, known.keys = entity, spokesman, keys
        return known

    def all(self) -> list[Known]:
        return list(self._known.values())

    def unreported(self, beat: int) -> list[Known]:
        """Those that the backend has yet to give an id, and that are due at this beat."""
        return [known for known in self._known.values() if not known.reported and known.not_before <= beat]

    def reported(self) -> list[Known]:
        return [known for known in self._known.values() if known.reported]

    def assign(self, asked: Iterable[Known], reply: EBPFReportProcessDownstream, beat: int) -> None:
        """Take over a reply's ids, by pid and entity. Those without one are reported again, ever more rarely."""
        ids = {}
        for process in reply.processes:
            answer = process.hostProcess if process.HasField("hostProcess") else process.k8sProcess
            meta = answer.entityMetadata
            names = (meta.layer, meta.serviceName, meta.instanceName, meta.processName)
            ids[answer.pid, names, tuple(sorted(meta.labels))] = process.processId
        for known in asked:
            entity = to_message(known.entity)
            names = (entity.layer, entity.serviceName, entity.instanceName, entity.processName)
            process_id = ids.get((known.spokesman.pid, names, tuple(sorted(entity.labels))), "")
            self._note(known, process_id, beat)

    def _note(self, known: Known, process_id: str, beat: int) -> None:
        known.reported = bool(process_id)
        if not process_id:
            known.tries += 1
            known.not_before = beat + min(2 ** (known.tries - 1), self.retry_within)
            return
        known.tries = 0
        key = identity(known.entity)
        self._ids.pop(key, None)  # to the end: the oldest are forgotten first
        self._ids[key] = process_id
        self._entities[process_id] = key
        while len(self._ids) > _IDS_KEPT:
            del self._entities[self._ids.pop(next(iter(self._ids)))]

    def forget_reports(self) -> None:
        """The backend may have lost what it was told: everything is to be reported again."""
        for known in self._known.values():
            known.reported, known.tries, known.not_before = False, 0, 0

    @property
    def any_ids(self) -> bool:
        return bool(self._ids)

    def process_id(self, entity: Entity) -> str | None:
        """The backend's id of an entity, as a profiler names it; None if it has not given one."""
        return self._ids.get(identity(in_cluster(entity, self.cluster)))

    def keys_of(self, process_id: str) -> tuple[ProcessKey, ...]:
        """The living processes behind an id; none if the id is unknown."""
        entity = self._entities.get(process_id)
        known = self._known.get(entity) if entity else None
        return known.keys if known else ()


def _rank(member: tuple[Entity, Process]) -> tuple[bool, int, int]:
    """The oldest process that can be profiled speaks for an entity, so that it does not change with every child."""
    process = member[1]
    return _supported(process) != "true", process.key.start_ticks, process.key.pid


def _supported(process: Process) -> str:
    """As discovery says; where it says nothing, what has an executable can be tried."""
    stated = dict(process.properties).get(_SUPPORTED)
    return stated if stated is not None else str(process.exe is not None).lower()


def _pair(key: str, value: str) -> KeyStringValuePair:
    return KeyStringValuePair(key=clean(key), value=clean(value[:_MOST_TEXT]))
