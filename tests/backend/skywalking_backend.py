"""A SkyWalking backend for tests: a real gRPC server that keeps what it is told, and fails as it is told to.

It behaves as contract sections 1 and 3 say the real one does: ids of processes are made of names, tasks go to the
agents of their processes, and data of equal schedule, stacks and time is kept once.
"""

import asyncio
import base64
import hashlib
import json
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message_factory import GetMessageClass

from rover_exporter_skywalking.protocol import (
    continuous_pb2,
    logging_pb2,
    meter_pb2,
    process_pb2,
    profiling_pb2,
    span_pb2,
)
from rover_exporter_skywalking.protocol.common_pb2 import Command, Commands, KeyStringValuePair

T = TypeVar("T")
_SERVICES = [
    process_pb2.DESCRIPTOR.services_by_name["EBPFProcessService"],
    profiling_pb2.DESCRIPTOR.services_by_name["EBPFProfilingService"],
    continuous_pb2.DESCRIPTOR.services_by_name["ContinuousProfilingService"],
    meter_pb2.DESCRIPTOR.services_by_name["MeterReportService"],
    logging_pb2.DESCRIPTOR.services_by_name["LogReportService"],
    span_pb2.DESCRIPTOR.services_by_name["SpanAttachedEventReportService"],
]


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def process_id(entity: Any) -> str:
    """The id of contract section 1.4."""
    instance = f"{b64(entity.serviceName)}.1_{b64(entity.instanceName)}"
    return hashlib.sha256(f"{entity.processName}_{instance}".encode()).hexdigest()


@dataclass
class Row:
    """One stack of one schedule at one time."""

    frames: tuple[str, ...]  # leaf first, the kernel's first
    count: int
    duration_ns: int


@dataclass
class Calls:
    """One kind of call: how often it came, and what is to become of it."""

    requests: list[Any] = field(default_factory=list)
    metadata: list[Mapping[str, str]] = field(default_factory=list)
    failure: grpc.StatusCode | None = None
    hanging: bool = False
    cut_after: int | None = None  # messages of a stream, after which it is broken off


class Backend:
    """Used on one event loop. calls: by the method's name (`keepAlive`)."""

    def __init__(self, *, authentication: str = "") -> None:
        self.authentication = authentication
        self.calls: defaultdict[str, Calls] = defaultdict(Calls)
        self.processes: dict[str, Any] = {}
        self.agents: dict[str, set[str]] = defaultdict(set)
        self.unknown: set[str] = set()  # names of processes that get no id
        self.tasks: list[tuple[int, list[str], Command]] = []
        self.policies: dict[str, tuple[str, Any]] = {}
        self.triggered: dict[str, Any] = {}  # reports, by the id that was answered
        self.rows: dict[tuple[str, str, int, str, int], Row] = {}
        self.received = 0
        self.collections: list[Any] = []
        self.logs: list[Any] = []
        self.span_events: list[Any] = []
        self.port = 0
        self._server: grpc.aio.Server | None = None

    async def start(self, credentials: grpc.ServerCredentials | None = None) -> int:
        """Listen, on the port of before if there was one."""
        self._server = grpc.aio.server()
        handlers = tuple(self._handler(service) for service in _SERVICES)
        self._server.add_generic_rpc_handlers(handlers)
        address = f"localhost:{self.port}"
        if credentials:
            self.port = self._server.add_secure_port(address, credentials)
        else:
            self.port = self._server.add_insecure_port(address)
        await self._server.start()
        return self.port

    async def stop(self) -> None:
        """Vanish, as a killed server does."""
        if self._server:
            await self._server.stop(None)
        self._server = None

    @property
    def address(self) -> str:
        return f"localhost:{self.port}"

    def order(self, task_id: str, ids: list[str], target: str = "ON_CPU", **arguments: Any) -> None:
        """Hand out a task for these processes. arguments: of the command, to have otherwise; None leaves one out."""
        now_ms = time.time_ns() // 1_000_000
        values = {
            "TaskId": task_id,
            "ProcessId": ",".join(ids),
            "TaskUpdateTime": now_ms,
            "TriggerType": "FIXED_TIME",
            "TargetType": target,
            "TaskStartTime": now_ms,
            "ExtensionConfigJSON": "null",
            "FixedTriggerDuration": 60,
            "SerialNumber": uuid.uuid4(),
            **arguments,
        }
        pairs = [KeyStringValuePair(key=k, value=str(v)) for k, v in values.items() if v is not None]
        update_ms = values["TaskUpdateTime"]
        readable = update_ms if isinstance(update_ms, int) else now_ms
        self.give(ids, Command(command="EBPFProfilingTaskQuery", args=pairs), readable)

    def give(self, ids: list[str], command: Command, update_ms: int) -> None:
        """Hand out any command to the agents of these processes; to everyone, if there are none."""
        self.tasks.append((update_ms, ids, command))

    def set_policy(self, service: str, profiling: Any) -> None:
        """A policy of this service, in the shape of contract section 2.2; None takes it away."""
        self.policies[service] = ("", None) if profiling is None else (str(uuid.uuid4()), profiling)

    def id_of(self, name: str) -> str:
        """The id of the process of this name, "" if it was not reported."""
        return next((key for key, entity in self.processes.items() if entity.processName == name), "")

    def folded(self, task_id: str, process: str | None = None) -> dict[tuple[str, ...], int]:
        """Counts by stack, root first, as a flame graph is drawn of them."""
        stacks: dict[tuple[str, ...], int] = defaultdict(int)
        for (task, owner, *_), row in self.rows.items():
            if task == task_id and process in (None, owner):
                stacks[row.frames[::-1]] += row.count
        return dict(stacks)

    def total(self, task_id: str) -> int:
        return sum(self.folded(task_id).values())

    def _handler(self, service: Any) -> grpc.GenericRpcHandler:
        methods = {}
        for method in service.methods:
            request = GetMessageClass(method.input_type).FromString
            reply = GetMessageClass(method.output_type).SerializeToString
            if method.client_streaming:
                behavior = self._streaming(method.name)
                methods[method.name] = grpc.stream_unary_rpc_method_handler(behavior, request, reply)
            else:
                behavior = self._unary(method.name)
                methods[method.name] = grpc.unary_unary_rpc_method_handler(behavior, request, reply)
        return grpc.method_handlers_generic_handler(service.full_name, methods)

    def _unary(self, name: str) -> Any:
        async def answer(request: Any, context: Any) -> Any:
            await self._enter(name, context)
            self.calls[name].requests.append(request)
            return getattr(self, name)(request)

        return answer

    def _streaming(self, name: str) -> Any:
        async def answer(requests: AsyncIterator[Any], context: Any) -> Any:
            await self._enter(name, context)
            calls, stream = self.calls[name], []
            calls.requests.append(stream)
            state: dict[str, Any] = {}
            async for request in requests:
                stream.append(request)
                getattr(self, name)(request, state)
                if calls.cut_after is not None and len(stream) >= calls.cut_after:
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
            return Commands()

        return answer

    async def _enter(self, name: str, context: Any) -> None:
        calls = self.calls[name]
        metadata = dict(context.invocation_metadata() or ())
        calls.metadata.append(metadata)
        if calls.hanging:
            await asyncio.sleep(60)
        if self.authentication and metadata.get("authentication") != self.authentication:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        if calls.failure:
            await context.abort(calls.failure, "as it was told to")

    def reportProcesses(self, request: Any) -> Any:  # noqa: N802 - the contract's name
        reply = process_pb2.EBPFReportProcessDownstream()
        for process in request.processes:
            kind = process.WhichOneof("metadata")
            metadata = getattr(process, kind)
            if metadata.entity.processName in self.unknown:
                continue
            key = process_id(metadata.entity)
            self.processes[key] = metadata.entity
            self.agents[request.ebpfAgentID].add(key)
            answer = reply.processes.add(processId=key)
            getattr(answer, kind).pid = metadata.pid
            getattr(answer, kind).entityMetadata.CopyFrom(metadata.entity)
        return reply

    def keepAlive(self, request: Any) -> Any:  # noqa: N802
        self.agents[request.ebpfAgentID].update(process_id(each.entityMetadata) for each in request.processes)
        return Commands()

    def queryTasks(self, request: Any) -> Any:  # noqa: N802
        mine = self.agents[request.roverInstanceId]
        newer = [
            command
            for update_ms, ids, command in self.tasks
            if update_ms > request.latestUpdateTime and (not ids or mine & set(ids))
        ]
        return Commands(commands=newer)

    def queryPolicies(self, request: Any) -> Any:  # noqa: N802
        changed = [
            {"ServiceName": asked.serviceName, "UUID": version, "Profiling": profiling}
            for asked in request.policies
            for version, profiling in [self.policies.get(asked.serviceName, ("", None))]
            if version != asked.uuid
        ]
        if not changed:
            return Commands()
        pairs = [
            KeyStringValuePair(key="SerialNumber", value=str(uuid.uuid4())),
            KeyStringValuePair(key="ServiceWithPolicyJSON", value=json.dumps(changed)),
        ]
        return Commands(commands=[Command(command="ContinuousProfilingPolicyQuery", args=pairs)])

    def reportProfilingTask(self, request: Any) -> Any:  # noqa: N802
        if process_id(request) not in self.processes:
            return Commands()
        task_id = f"triggered-{len(self.triggered)}"
        self.triggered[task_id] = request
        pair = KeyStringValuePair(key="TaskId", value=task_id)
        return Commands(commands=[Command(command="ContinuousProfilingReportTask", args=[pair])])

    def collectProfilingData(self, data: Any, state: dict[str, Any]) -> None:  # noqa: N802
        if data.HasField("task"):
            state["task"] = data.task
        task = state["task"]
        body = getattr(data, data.WhichOneof("profiling"))
        ordered = sorted(body.stacks, key=lambda stack: stack.stackType)
        ids = "_".join(str(stack.stackId) for stack in ordered)
        frames = tuple(symbol for stack in ordered for symbol in stack.stackSymbols)
        on_cpu = data.WhichOneof("profiling") == "onCPU"
        row = Row(frames, body.dumpCount if on_cpu else body.switchCount, 0 if on_cpu else body.duration)
        key = (task.taskId, task.processId, task.profilingStartTime, ids, task.currentTime)
        assert self.rows.get(key, row) == row, "two stacks with one identity: the real backend would keep one"
        self.rows[key] = row
        self.received += 1

    def collectBatch(self, collection: Any, state: dict[str, Any]) -> None:  # noqa: N802
        self.collections.append(collection)

    def collect(self, data: Any, state: dict[str, Any]) -> None:
        """Logs and span attached events, whose methods have one name; meters are not sent so."""
        if isinstance(data, GetMessageClass(logging_pb2.DESCRIPTOR.message_types_by_name["LogData"])):
            assert state.setdefault("service", data.service) == data.service, "one stream for each service"
            self.logs.append(data)
        elif isinstance(data, GetMessageClass(span_pb2.DESCRIPTOR.message_types_by_name["SpanAttachedEvent"])):
            self.span_events.append(data)
        else:
            raise AssertionError("Rover does not use it")


class BackendThread:
    """A backend for tests that are no coroutines, in a thread of its own."""

    def __init__(self, backend: Backend, credentials: grpc.ServerCredentials | None = None) -> None:
        self.backend = backend
        self._credentials = credentials
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "BackendThread":
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def start(self) -> None:
        self._call(self.backend.start(self._credentials))

    def stop(self) -> None:
        self._call(self.backend.stop())

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)
