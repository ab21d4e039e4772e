"""Continuous profiling of the backend: policies asked for, triggered tasks reported, their data uploaded."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import grpc
import pytest
from living_agent import NAME, Live, its_sample, living, profiled_process, until
from skywalking_backend import Backend

from rover_core.model import Entity, Loss, Process, Task
from rover_core.policies import Cause, Monitor, Threshold, Trigger, Uri
from rover_core.testing import FakeContext
from rover_exporter_skywalking.backend import Backend as Client
from rover_exporter_skywalking.policies import read_policies
from rover_exporter_skywalking.policypolling import PolicyPolling
from rover_exporter_skywalking.processes import ProcessBook
from rover_exporter_skywalking.protocol.common_pb2 import Command, Commands, KeyStringValuePair

CPU = {"PROCESS_CPU": {"Threshold": "80", "Period": 10, "Count": 3}}
HTTP = {"HTTP_ERROR_RATE": {"Threshold": "10.5", "Period": 10, "Count": 1, "URIList": ["/a", "/b"]}}


def reply(*services: Any, text: str | None = None, command: str = "ContinuousProfilingPolicyQuery") -> Commands:
    pair = KeyStringValuePair(key="ServiceWithPolicyJSON", value=json.dumps(services) if text is None else text)
    return Commands(commands=[Command(command=command, args=[pair])])


def service(profiling: Any, name: str = "shop", uuid: str = "1") -> dict[str, Any]:
    return {"ServiceName": name, "UUID": uuid, "Profiling": profiling}


def test_policies_are_read_as_the_contract_writes_them() -> None:
    """Broken: a check the backend stores is not heeded, or is another (contract section 2.2)."""
    regex = {
        "HTTP_AVG_RESPONSE_TIME": {"Threshold": "500", "Period": 10, "Count": 1, "URIList": None, "URIRegex": "^/a"}
    }
    (policy,) = read_policies(reply(service({"ON_CPU": CPU, "NETWORK": {**HTTP, **regex}})))
    assert policy.thresholds["ON_CPU"] == (Threshold(Monitor.PROCESS_CPU, 80, 10, 3),)
    errors, times = policy.thresholds["NETWORK"]
    assert errors == Threshold(Monitor.HTTP_ERROR_RATE, 10.5, 10, 1, (Uri(path="/a"), Uri(path="/b")))
    assert times.uris == (Uri(regex="^/a"),)
    everything = {"HTTP_ERROR_RATE": {"Threshold": "1", "Period": 1, "Count": 1}}
    (policy,) = read_policies(reply(service({"NETWORK": everything})))
    assert policy.thresholds["NETWORK"][0].uris == (Uri(),)
    assert read_policies(Commands()) == []


@pytest.mark.parametrize(
    "check",
    [
        {"Threshold": "many", "Period": 10, "Count": 3},
        {"Threshold": 80, "Period": 10, "Count": 3},
        {"Threshold": "80", "Period": 0, "Count": 0},
        {"Threshold": "80", "Period": 3, "Count": 4},
        {"Threshold": "80", "Period": "3", "Count": 1},
        {"Threshold": "80", "Period": 10**9, "Count": 1},
        {"Threshold": "nan", "Period": 3, "Count": 1},
        {"Threshold": "80", "Period": 3, "Count": 1, "URIRegex": "("},
        {"Threshold": "80", "Period": 3, "Count": 1, "URIList": ["/"] * 1000},
        {"Threshold": "80", "Period": 3, "Count": 1, "URIList": [7]},
        [],
        None,
    ],
)
def test_a_check_that_is_none_is_left_out_alone(check: Any) -> None:
    """Broken: one bad check crashes the agent, or takes the service's others along."""
    (policy,) = read_policies(reply(service({"ON_CPU": CPU, "NETWORK": {"HTTP_ERROR_RATE": check}, "HEAP": CPU})))
    assert policy.thresholds["ON_CPU"] == (Threshold(Monitor.PROCESS_CPU, 80, 10, 3),)
    assert policy.thresholds["NETWORK"] == ()
    assert "HEAP" not in policy.thresholds, "a target that nobody knows"


@pytest.mark.parametrize("bad", [7, {}, {"ServiceName": 7}, service([]), service(CPU, uuid=7)])  # type: ignore[arg-type]
def test_a_service_that_is_none_takes_no_other_along(bad: Any) -> None:
    """Broken: one bad service hides the policies of all."""
    policies = read_policies(reply(bad, service({"ON_CPU": CPU}, name="good")))
    assert policies[-1].service == "good"


@pytest.mark.parametrize("bad", [reply(command="Other"), reply(text=""), reply(text="{}"), reply(text="[" * 100_000)])
def test_a_reply_that_is_none_changes_nothing(bad: Commands) -> None:
    """Broken: nonsense ends policies that are in effect, or the polling."""
    polling = PolicyPolling(None, ProcessBook(), 1)  # type: ignore[arg-type]
    polling.take(reply(service({"ON_CPU": CPU})))
    for answer in (bad, Commands(commands=[*reply().commands, *reply().commands])):
        with pytest.raises(ValueError, match=r"ServiceWithPolicyJSON|expected one command"):
            read_policies(answer)
        polling.take(answer)
    polling.take(reply(service({}, uuid="")))
    assert polling._known == {}


async def test_policies_come_change_and_go_by_service(backend: Backend, settings_for: Any) -> None:
    """Broken: what was asked for once is asked for as new, a change is missed, or a removed policy goes on."""
    others = [replace(profiled_process(), entities=(Entity("OS_LINUX", "cart", "host", "cart"),))]
    settings = settings_for(backend, **{"core.cluster_name": "east"})
    backend.set_policy("east::shop", {"ON_CPU": CPU})
    client = Client(settings)
    source = client.policies
    context = FakeContext([profiled_process(), *others])
    context.find([profiled_process(), replace(others[0], key=replace(others[0].key, pid=others[0].pid + 1))])
    running = asyncio.create_task(client.source.run(context))
    await until(lambda: source.policies)
    (mine,) = source.policies
    assert (mine.service, mine.thresholds["ON_CPU"][0].value) == ("shop", 80)
    asked = backend.calls["queryPolicies"].requests
    await until(lambda: {each.serviceName: each.uuid for each in asked[-1].policies}["east::shop"])
    assert {each.serviceName for each in asked[-1].policies} == {"east::shop", "east::cart"}
    before = source.policies
    backend.set_policy("east::cart", {"NETWORK": HTTP})
    await until(lambda: len(source.policies) == 2)
    assert [policy for policy in source.policies if policy.service == "shop"] == list(before)
    await backend.stop()
    await asyncio.sleep(0.5)
    assert len(source.policies) == 2, "what was ordered holds while the backend is away"
    await backend.start()
    backend.set_policy("east::shop", None)
    await until(lambda: [policy.service for policy in source.policies] == ["cart"])
    context.find([])
    await until(lambda: not source.policies)
    running.cancel()
    await asyncio.wait([running])
    await client.exporter.stop()


async def known(live: Live) -> None:
    """Wait until the agent has the backend's id of its process."""
    await until(lambda: live.client.processes.any_ids)


def trigger(profiler: str = "ON_CPU", *causes: Cause, process: Process | None = None) -> Trigger:
    process = process or profiled_process()
    task = Task("mine", profiler, (process.key,), duration_ns=600 * 10**9)
    return Trigger(task, process, process.entities[0], causes or (Cause(Monitor.PROCESS_CPU, 80, 93.5),))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is not a backend that is away."""
    monkeypatch.setattr("rover_exporter_skywalking.triggered._IN_TIME_S", 20.0)


@pytest.mark.parametrize(
    ("told", "target", "uris"),
    [
        (trigger(), "onCPU", None),
        (trigger("OFF_CPU"), "offCPU", None),
        (
            trigger(
                "NETWORK",
                Cause(Monitor.HTTP_ERROR_RATE, 10, 50, Uri(path="/a.b")),
                Cause(Monitor.HTTP_AVG_RESPONSE_TIME, 500, 812.5, Uri(regex="^/c")),
                Cause(Monitor.HTTP_ERROR_RATE, 10, 20, Uri()),
            ),
            "network",
            ["", "/a.b", "^/c"],
        ),
    ],
)
async def test_what_was_triggered_is_told_with_its_causes(
    backend: Backend, settings_for: Any, told: Trigger, target: str, uris: Any
) -> None:
    """Broken: the backend shows other causes than there were, or the task has another id than it gave."""
    async with living(settings_for(backend)) as live:
        await known(live)
        assert await live.client.policies.report(told) == "triggered-0"
    report = backend.triggered["triggered-0"]
    entity = told.entity
    assert entity is not None
    assert (report.layer, report.serviceName, report.instanceName, report.processName) == (
        entity.layer, entity.service, entity.instance, entity.process
    )  # fmt: skip
    assert (report.duration, report.WhichOneof("targetTask")) == (600, target)
    if uris is None:
        (cause,) = report.causes
        assert (cause.type, cause.singleValue.threshold, cause.singleValue.current) == (0, 80, 93.5)
        return
    assert list(report.network.samplingURIRegexes) == uris
    path, regex, every = report.causes
    assert (path.type, path.uri.WhichOneof("uri"), path.uri.path, path.uri.current) == (3, "path", "/a.b", 50)
    assert (regex.type, regex.uri.WhichOneof("uri"), regex.uri.regex) == (4, "regex", "^/c")
    assert (every.uri.WhichOneof("uri"), every.uri.path) == ("path", "")


async def test_profiles_of_a_triggered_task_arrive_under_the_backends_id(backend: Backend, settings_for: Any) -> None:
    """Broken: what a policy began is profiled, and nobody sees it."""
    async with living(settings_for(backend), its_sample("burn", "main")) as live:
        await known(live)
        told = trigger()
        task_id = await live.client.policies.report(told)
        live.agent.submit(replace(told.task, id=task_id))
        await until(lambda: backend.total(task_id))
        await live.settle(lambda: backend.total(task_id))
    assert set(backend.folded(task_id, backend.id_of(NAME))) == {("main", "burn")}
    assert not live.lost


async def test_nothing_is_lost_while_the_backend_does_not_answer(backend: Backend, settings_for: Any) -> None:
    """Broken: a spike while the backend is away is not profiled, or its profile never arrives there."""
    async with living(settings_for(backend), its_sample("burn", "main")) as live:
        await known(live)
        await backend.stop()
        told = trigger()
        assert await live.client.policies.report(told) == "mine", "it begins all the same"
        live.agent.submit(told.task)
        await until(lambda: live.profiler.called("drain") > 3)
        await backend.start()
        await until(lambda: backend.triggered)
        await live.settle(lambda: backend.total("triggered-0"))
        assert backend.total("triggered-0") == live.seen > 3
    assert not live.lost


async def test_what_waits_for_an_answer_is_bounded_and_counted(
    backend: Backend, settings_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: an agent whose backend is away for hours holds all that its policies began, or loses it unseen."""
    monkeypatch.setattr("rover_exporter_skywalking.triggered._HELD", 8)
    async with living(settings_for(backend)) as live:
        await known(live)
        backend.calls["reportProfilingTask"].failure = grpc.StatusCode.UNAVAILABLE
        told = trigger()
        assert await live.client.policies.report(told) == "mine"
        live.agent.submit(told.task)
        await until(lambda: live.lost.get(Loss.EXPORTER_DOWN, 0) > 2)
        assert live.seen - live.lost[Loss.EXPORTER_DOWN] >= 8
    assert live.lost == {Loss.EXPORTER_DOWN: live.seen}


@pytest.mark.parametrize("what", ["empty reply", "unknown process", "refused"])
async def test_a_backend_that_gives_no_id_gets_no_data(backend: Backend, settings_for: Any, what: str) -> None:
    """Broken: an empty reply crashes (contract section 8.2), or data goes to a task that is none."""
    process = profiled_process()
    async with living(settings_for(backend)) as live:
        await known(live)
        match what:
            case "empty reply":
                backend.processes.clear()
            case "unknown process":
                process = replace(process, entities=(Entity("OS_LINUX", "shop", "host", "another"),))
            case "refused":
                backend.calls["reportProfilingTask"].failure = grpc.StatusCode.UNIMPLEMENTED
        told = trigger(process=process)
        assert await live.client.policies.report(told) == "mine"
        live.agent.submit(told.task)
        await until(lambda: live.profiler.called("drain") > 2)
    assert not backend.rows
    assert not live.lost, "it is this host's alone"


def test_nobody_is_asked_for_policies_that_nobody_heeds(settings_for: Any) -> None:
    """Broken: an agent without continuous profiling asks for policies for ever."""
    client = Client(settings_for(Backend(), **{"core.backend.addr": "localhost:1"}))
    assert client.source.policies is None
    assert client.policies
    assert client.source.policies is not None
