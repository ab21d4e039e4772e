"""The protocol is the contract's, word for word and number for number."""

import re
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pool import Default

from rover_exporter_skywalking import rpc
from rover_exporter_skywalking.protocol import (  # noqa: F401 - importing them registers what is looked up below
    common_pb2,
    continuous_pb2,
    logging_pb2,
    meter_pb2,
    process_pb2,
    profiling_pb2,
    span_pb2,
)

# Contract section 1.2: method, request (`stream` where the client streams), reply.
METHODS = """
EBPFProcessService/reportProcesses EBPFProcessReportList EBPFReportProcessDownstream
EBPFProcessService/keepAlive EBPFProcessPingPkgList Commands
EBPFProfilingService/queryTasks EBPFProfilingTaskQuery Commands
EBPFProfilingService/collectProfilingData stream-EBPFProfilingData Commands
ContinuousProfilingService/queryPolicies ContinuousProfilingPolicyQuery Commands
ContinuousProfilingService/reportProfilingTask ContinuousProfilingReport Commands
MeterReportService/collectBatch stream-MeterDataCollection Commands
MeterReportService/collect stream-MeterData Commands
LogReportService/collect stream-LogData Commands
SpanAttachedEventReportService/collect stream-SpanAttachedEvent Commands
"""

# Contract sections 1.3 to 1.9. In brackets: the oneof that a field is part of.
MESSAGES = """
KeyStringValuePair: 1 key string; 2 value string
KeyIntValuePair: 1 key string; 2 value int64
Instant: 1 seconds int64; 2 nanos int32
Command: 1 command string; 2 args repeated KeyStringValuePair
Commands: 1 commands repeated Command
EBPFProcessReportList: 1 processes repeated EBPFProcessProperties; 2 ebpfAgentID string
EBPFProcessProperties: 1 hostProcess EBPFHostProcessMetadata [metadata]; 2 k8sProcess EBPFKubernetesProcessMetadata [metadata]
EBPFHostProcessMetadata: 1 entity EBPFProcessEntityMetadata; 2 pid int32; 3 properties repeated KeyStringValuePair
EBPFKubernetesProcessMetadata: 1 entity EBPFProcessEntityMetadata; 2 pid int32; 3 properties repeated KeyStringValuePair
EBPFProcessEntityMetadata: 1 layer string; 2 serviceName string; 3 instanceName string; 4 processName string; 5 labels repeated string
EBPFReportProcessDownstream: 1 processes repeated EBPFProcessDownstream
EBPFProcessDownstream: 1 processId string; 2 hostProcess EBPFHostProcessDownstream [process]; 3 k8sProcess EBPFKubernetesProcessDownstream [process]
EBPFHostProcessDownstream: 1 pid int32; 2 entityMetadata EBPFProcessEntityMetadata
EBPFKubernetesProcessDownstream: 1 pid int32; 2 entityMetadata EBPFProcessEntityMetadata
EBPFProcessPingPkgList: 1 processes repeated EBPFProcessPingPkg; 2 ebpfAgentID string
EBPFProcessPingPkg: 1 entityMetadata EBPFProcessEntityMetadata; 2 properties repeated KeyStringValuePair
EBPFProfilingTaskQuery: 1 roverInstanceId string; 2 latestUpdateTime int64
EBPFProfilingData: 1 task EBPFProfilingTaskMetadata; 2 onCPU EBPFOnCPUProfiling [profiling]; 3 offCPU EBPFOffCPUProfiling [profiling]
EBPFProfilingTaskMetadata: 1 taskId string; 2 processId string; 3 profilingStartTime int64; 4 currentTime int64
EBPFProfilingStackMetadata: 1 stackType EBPFProfilingStackType; 2 stackId int32; 3 stackSymbols repeated string
EBPFOnCPUProfiling: 1 stacks repeated EBPFProfilingStackMetadata; 2 dumpCount int32
EBPFOffCPUProfiling: 1 stacks repeated EBPFProfilingStackMetadata; 2 switchCount int32; 3 duration int64
ContinuousProfilingPolicyQuery: 1 policies repeated ContinuousProfilingServicePolicyQuery
ContinuousProfilingServicePolicyQuery: 1 serviceName string; 2 uuid string
ContinuousProfilingReport: 1 layer string; 2 serviceName string; 3 instanceName string; 4 processName string; 5 causes repeated ContinuousProfilingCause; 6 duration int32; 7 onCPU ContinuousOnCPUProfilingTask [targetTask]; 8 offCPU ContinuousOffCPUProfilingTask [targetTask]; 9 network ContinuousNetworkProfilingTask [targetTask]
ContinuousProfilingCause: 1 type ContinuousProfilingTriggeredMonitorType; 2 singleValue ContinuousProfilingSingleValueCause [cause]; 3 uri ContinuousProfilingURICause [cause]
ContinuousProfilingSingleValueCause: 1 threshold double; 2 current double
ContinuousProfilingURICause: 1 regex string [uri]; 2 path string [uri]; 3 threshold double; 4 current double
ContinuousOnCPUProfilingTask:
ContinuousOffCPUProfilingTask:
ContinuousNetworkProfilingTask: 1 samplingURIRegexes repeated string
MeterData: 1 singleValue MeterSingleValue [metric]; 2 histogram MeterHistogram [metric]; 3 service string; 4 serviceInstance string; 5 timestamp int64
MeterDataCollection: 1 meterData repeated MeterData
MeterSingleValue: 1 name string; 2 labels repeated Label; 3 value double
MeterHistogram: 1 name string; 2 labels repeated Label; 3 values repeated MeterBucketValue
MeterBucketValue: 1 bucket double; 2 count int64; 3 isNegativeInfinity bool
Label: 1 name string; 2 value string
LogData: 1 timestamp int64; 2 service string; 3 serviceInstance string; 4 endpoint string; 5 body LogDataBody; 6 traceContext TraceContext; 7 tags LogTags; 8 layer string
LogDataBody: 1 type string; 2 text TextLog [content]; 3 json JSONLog [content]; 4 yaml YAMLLog [content]
TextLog: 1 text string
JSONLog: 1 json string
YAMLLog: 1 yaml string
TraceContext: 1 traceId string; 2 traceSegmentId string; 3 spanId int32
LogTags: 1 data repeated KeyStringValuePair
SpanAttachedEvent: 1 startTime Instant; 2 event string; 3 endTime Instant; 4 tags repeated KeyStringValuePair; 5 summary repeated KeyIntValuePair; 6 traceContext SpanAttachedEvent.SpanReference
SpanAttachedEvent.SpanReference: 1 type SpanAttachedEvent.SpanReferenceType; 2 traceId string; 3 traceSegmentId string; 4 spanId string
"""  # noqa: E501 - a line is a row of the contract's tables

ENUMS = {
    "DetectPoint": ["client", "server", "proxy"],
    "EBPFProfilingStackType": ["PROCESS_KERNEL_SPACE", "PROCESS_USER_SPACE"],
    "ContinuousProfilingTriggeredMonitorType": [
        "ProcessCPU",
        "ProcessThreadCount",
        "SystemLoad",
        "HTTPErrorRate",
        "HTTPAvgResponseTime",
    ],
    "SpanAttachedEvent.SpanReferenceType": ["SKYWALKING", "ZIPKIN"],
}
_SCALARS = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_BOOL: "bool",
}


def written(field: Any) -> str:
    """A field as the tables above write it."""
    kind = field.message_type or field.enum_type
    name = kind.full_name.removeprefix("skywalking.v3.") if kind else _SCALARS[field.type]
    repeated = "repeated " if field.is_repeated else ""
    oneof = f" [{field.containing_oneof.name}]" if field.containing_oneof else ""
    return f"{field.number} {field.name} {repeated}{name}{oneof}"


@pytest.mark.parametrize("row", MESSAGES.strip().splitlines(), ids=lambda row: row.partition(":")[0])
def test_messages_are_the_contracts(row: str) -> None:
    """Broken: the backend reads another field than was meant, or none, without a word."""
    name, _, fields = row.partition(":")
    message = Default().FindMessageTypeByName(f"skywalking.v3.{name}")
    assert [written(field) for field in message.fields] == [part.strip() for part in fields.split(";") if part]


@pytest.mark.parametrize("row", METHODS.strip().splitlines())
def test_methods_are_the_contracts(row: str) -> None:
    """Broken: every call of a kind ends with UNIMPLEMENTED."""
    path, request, reply = row.split()
    service, name = path.split("/")
    method = Default().FindServiceByName(f"skywalking.v3.{service}").methods_by_name[name]
    assert (method.input_type.name, method.output_type.name) == (request.removeprefix("stream-"), reply)
    assert method.client_streaming == request.startswith("stream-")
    assert not method.server_streaming


@pytest.mark.parametrize("name", ENUMS)
def test_enumerations_are_the_contracts(name: str) -> None:
    """Broken: kernel stacks are taken for users', or a cause for another."""
    values = Default().FindEnumTypeByName(f"skywalking.v3.{name}").values
    assert [(value.number, value.name) for value in values] == list(enumerate(ENUMS[name]))


def test_calls_are_declared_methods_with_their_replies() -> None:
    """Broken: a call's path has a slip that only a real backend would notice."""
    calls = [value for value in vars(rpc).values() if isinstance(value, rpc.Rpc)]
    assert len(calls) == 9
    for call in calls:
        service, name = re.fullmatch(r"/(skywalking\.v3\.\w+)/(\w+)", call.path).groups()  # type: ignore[union-attr]
        method = Default().FindServiceByName(service).methods_by_name[name]
        assert method.output_type is call.reply.DESCRIPTOR
