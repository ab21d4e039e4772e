"""Tasks that a policy began here: told to the backend, and their data held until it has given them an id."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from rover_core.api import Batch
from rover_core.logs import get_logger
from rover_core.model import Entity, Loss, ProcessKey, Profile
from rover_core.policies import Cause, Monitor, Policy, Trigger, Uri
from rover_exporter_skywalking.accepted import Accepted, AcceptedOrders
from rover_exporter_skywalking.backoff import Backoff
from rover_exporter_skywalking.connection import BackendError, Connection
from rover_exporter_skywalking.naming import clean, in_cluster
from rover_exporter_skywalking.orders import Order
from rover_exporter_skywalking.policypolling import PolicyPolling
from rover_exporter_skywalking.processes import ProcessBook
from rover_exporter_skywalking.protocol.continuous_pb2 import (
    ContinuousNetworkProfilingTask,
    ContinuousOffCPUProfilingTask,
    ContinuousOnCPUProfilingTask,
    ContinuousProfilingCause,
    ContinuousProfilingReport,
    ContinuousProfilingSingleValueCause,
    ContinuousProfilingTriggeredMonitorType,
    ContinuousProfilingURICause,
)
from rover_exporter_skywalking.rpc import REPORT_PROFILING_TASK

log = get_logger("skywalking")

_IN_TIME_S = 2.0  # after so long the task begins under an id of its own
_HELD = 64  # batches of all tasks together
_TYPES = {
    Monitor.PROCESS_CPU: ContinuousProfilingTriggeredMonitorType.ProcessCPU,
    Monitor.PROCESS_THREAD_COUNT: ContinuousProfilingTriggeredMonitorType.ProcessThreadCount,
    Monitor.SYSTEM_LOAD: ContinuousProfilingTriggeredMonitorType.SystemLoad,
    Monitor.HTTP_ERROR_RATE: ContinuousProfilingTriggeredMonitorType.HTTPErrorRate,
    Monitor.HTTP_AVG_RESPONSE_TIME: ContinuousProfilingTriggeredMonitorType.HTTPAvgResponseTime,
}


class RefusedError(Exception):
    """The backend answered, and has no id for the task."""


@dataclass(slots=True)
class _Unanswered:
    """A task whose report the backend has not answered yet."""

    report: asyncio.Task[None]
    batches: list[Profile] = field(default_factory=list)


class TriggeredTasks:
    """A `rover_core.api.PolicySource`, and what the exporter asks about profiles of unknown tasks.

    deliver: hands a batch to the exporter; lost: of samples, for which cause.
    """

    name = "skywalking"

    def __init__(
        self, connection: Connection, processes: ProcessBook, accepted: AcceptedOrders, polling: PolicyPolling
    ) -> None:
        self._connection = connection
        self._book = processes
        self._accepted = accepted
        self._unanswered: dict[str, _Unanswered] = {}
        self.polling = polling
        self.deliver: Callable[[Batch], Awaitable[None]] | None = None
        self.lost: Callable[[int, Loss], None] = lambda samples, cause: None

    @property
    def policies(self) -> Sequence[Policy]:
        return self.polling.policies

    async def report(self, trigger: Trigger) -> str:
        """The backend's id of the task if it answers in time; else the task's own, and it is told as soon as it is
        back: what the task delivers until then is held."""
        message = self._message(trigger)
        if message is None:
            reason = "it does not know the process, or no such task"
            log.info("triggered task is not the backend's", task=trigger.task.id, reason=reason)
            return trigger.task.id
        try:
            async with asyncio.timeout(_IN_TIME_S):
                task_id = await self._ask(message)
        except (BackendError, TimeoutError) as error:
            if not (isinstance(error, BackendError) and error.refused):
                waiting = asyncio.create_task(self._report_later(trigger, message), name="reporting a triggered task")
                self._unanswered[trigger.task.id] = _Unanswered(waiting)
            return trigger.task.id
        except RefusedError as error:
            log.warning("triggered task is not the backend's", task=trigger.task.id, reason=str(error))
            return trigger.task.id
        self._accept(task_id, task_id, trigger)
        return task_id

    def hold(self, profile: Profile) -> None:
        """Keep a profile of a task that is not known, if it may become known."""
        unanswered = self._unanswered.get(profile.task_id)
        if unanswered is None:
            return
        unanswered.batches.append(profile)
        held = [each for each in self._unanswered.values() if each.batches]
        if sum(len(each.batches) for each in held) > _HELD:
            longest = max(held, key=lambda each: len(each.batches))
            self._lose([longest.batches.pop(0)])

    async def stop(self) -> None:
        """What is held is lost."""
        for unanswered in self._unanswered.values():
            unanswered.report.cancel()
            self._lose(unanswered.batches)
        self._unanswered.clear()

    def _lose(self, batches: Sequence[Profile]) -> None:
        self.lost(sum(batch.completeness.kept for batch in batches), Loss.EXPORTER_DOWN)

    async def _report_later(self, trigger: Trigger, message: ContinuousProfilingReport) -> None:
        backoff = Backoff()
        while True:
            await asyncio.sleep(backoff.after_failure())
            try:
                task_id = await self._ask(message)
            except BackendError as error:
                if not error.refused:
                    continue
                reason = error.why
            except RefusedError as error:
                reason = str(error)
            else:
                self._accept(trigger.task.id, task_id, trigger)
                break
            log.warning("triggered task is not the backend's", task=trigger.task.id, reason=reason)
            self._lose(self._unanswered.pop(trigger.task.id).batches)
            return
        unanswered = self._unanswered.pop(trigger.task.id)
        for batch in unanswered.batches:
            if self.deliver:
                await self.deliver(batch)

    async def _ask(self, message: ContinuousProfilingReport) -> str:
        commands = await self._connection.ask(REPORT_PROFILING_TASK, message)
        pairs = (pair for command in commands.commands for pair in command.args)
        task_id = next((pair.value for pair in pairs if pair.key == "TaskId"), "")
        if not task_id:
            raise RefusedError("its answer has no TaskId")
        return task_id

    def _accept(self, rover_id: str, task_id: str, trigger: Trigger) -> None:
        """Have what the task delivers uploaded."""
        task, process_id = trigger.task, self._id_of(trigger.entity)
        ids = (process_id,) if process_id else ()
        members: Mapping[ProcessKey, Sequence[str]] = dict.fromkeys(task.processes or (), ids)
        now_ns = time.time_ns()
        order = Order(task_id, ids, task.profiler, now_ns // 1_000_000, now_ns, task.duration_ns or 0)
        self._accepted.add(rover_id, Accepted(order, task, members))

    def _id_of(self, entity: Entity | None) -> str | None:
        return self._book.process_id(entity) if entity else None

    def _message(self, trigger: Trigger) -> ContinuousProfilingReport | None:
        """None for a process that the backend does not know, and for profilers that it has no word for."""
        entity = trigger.entity
        if entity is None or self._id_of(entity) is None:
            return None
        named = in_cluster(entity, self._book.cluster)
        report = ContinuousProfilingReport(
            layer=clean(named.layer),
            serviceName=clean(named.service),
            instanceName=clean(named.instance),
            processName=clean(named.process),
            causes=[_cause(cause) for cause in trigger.causes],
            duration=(trigger.task.duration_ns or 0) // 1_000_000_000,
        )
        match trigger.task.profiler:
            case "ON_CPU":
                report.onCPU.CopyFrom(ContinuousOnCPUProfilingTask())
            case "OFF_CPU":
                report.offCPU.CopyFrom(ContinuousOffCPUProfilingTask())
            case "NETWORK":
                texts = {clean(uri.path or uri.regex) for cause in trigger.causes if (uri := cause.uri)}
                report.network.CopyFrom(ContinuousNetworkProfilingTask(samplingURIRegexes=sorted(texts)))
            case _:
                return None
        return report


def _cause(cause: Cause) -> ContinuousProfilingCause:
    if cause.uri is None:
        single = ContinuousProfilingSingleValueCause(threshold=cause.threshold, current=cause.current)
        return ContinuousProfilingCause(type=_TYPES[cause.monitor], singleValue=single)
    uri = ContinuousProfilingURICause(threshold=cause.threshold, current=cause.current, **_named(cause.uri))
    return ContinuousProfilingCause(type=_TYPES[cause.monitor], uri=uri)


def _named(uri: Uri) -> dict[str, str]:
    """Every request is the path "" (contract section 3.6)."""
    return {"regex": clean(uri.regex)} if uri.regex else {"path": clean(uri.path)}
