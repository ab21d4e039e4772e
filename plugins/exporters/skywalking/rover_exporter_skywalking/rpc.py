"""The calls, as contract section 1.2 lists them."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from rover_exporter_skywalking.protocol.common_pb2 import Commands
from rover_exporter_skywalking.protocol.process_pb2 import EBPFReportProcessDownstream

Reply = TypeVar("Reply", bound=Message)

_PACKAGE = "skywalking.v3"


@dataclass(frozen=True, slots=True)
class Rpc(Generic[Reply]):
    """path: as HTTP/2 has it; reply: the class of its answer."""

    path: str
    reply: type[Reply]


def _rpc(service: str, method: str, reply: type[Reply]) -> Rpc[Reply]:
    return Rpc(f"/{_PACKAGE}.{service}/{method}", reply)


REPORT_PROCESSES = _rpc("EBPFProcessService", "reportProcesses", EBPFReportProcessDownstream)
KEEP_ALIVE = _rpc("EBPFProcessService", "keepAlive", Commands)
QUERY_TASKS = _rpc("EBPFProfilingService", "queryTasks", Commands)
COLLECT_PROFILING_DATA = _rpc("EBPFProfilingService", "collectProfilingData", Commands)
QUERY_POLICIES = _rpc("ContinuousProfilingService", "queryPolicies", Commands)
REPORT_PROFILING_TASK = _rpc("ContinuousProfilingService", "reportProfilingTask", Commands)
COLLECT_METERS = _rpc("MeterReportService", "collectBatch", Commands)
COLLECT_LOGS = _rpc("LogReportService", "collect", Commands)
COLLECT_SPAN_EVENTS = _rpc("SpanAttachedEventReportService", "collect", Commands)
