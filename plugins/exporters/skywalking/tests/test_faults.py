"""What becomes of a task when its backend is absent, dies, hangs, refuses or chokes: nothing, or it is counted."""

import asyncio
import gc
import re
import sys
import time
from dataclasses import replace
from typing import Any

import grpc
import pytest
import structlog
from cutting_proxy import CuttingProxy
from living_agent import NAME, its_sample, living, profiled_process, until
from skywalking_backend import Backend

from rover_core import procfs
from rover_core.logs import configure_logs
from rover_core.model import Entity, Loss
from rover_core.testing import this_process
from rover_exporter_skywalking import accepted, connection


async def ordered(backend: Backend, task: str = "t", **arguments: Any) -> None:
    """Hand out a task for the process as soon as it was reported."""
    await until(lambda: backend.id_of(NAME))
    backend.order(task, [backend.id_of(NAME)], **arguments)


async def test_a_task_from_order_to_flame_graph(backend: Backend, settings_for: Any) -> None:
    """Broken: the purpose of it all."""
    sample = its_sample("k:read", "work", "main", count=7)
    async with living(settings_for(backend), sample) as live:
        await ordered(backend)
        await until(lambda: backend.total("t") >= 70)
        outcome = await live.end()
    assert backend.folded("t") == {("main", "work", "read"): live.seen}
    assert outcome.ledger.exporters["skywalking"].kept == live.seen
    ids = {
        call.requests[0].ebpfAgentID
        for name, call in backend.calls.items()
        if name in ("reportProcesses", "keepAlive")
    }
    ids |= {request.roverInstanceId for request in backend.calls["queryTasks"].requests}
    (agent_id,) = ids
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", agent_id)


async def test_heartbeats_follow_the_contract(backend: Backend, settings_for: Any) -> None:
    """Broken: the backend forgets processes after minutes, or hears of their command lines once only."""
    every = {"process_discovery.heartbeat_period": "100ms", "process_discovery.properties_report_period": "4"}
    async with living(settings_for(backend, **every)):
        await until(lambda: len(backend.calls["reportProcesses"].requests) >= 4)
    beats = len(backend.calls["keepAlive"].requests) + len(backend.calls["reportProcesses"].requests)
    reports = len(backend.calls["reportProcesses"].requests)
    assert beats // 4 - 1 <= reports <= beats // 4 + 2


async def test_a_backend_that_is_not_there_yet(backend: Backend, settings_for: Any, capsys: Any) -> None:
    """Broken: an agent that starts before its backend never works for it."""
    await backend.stop()
    async with living(settings_for(backend)):
        await asyncio.sleep(0.5)
        await backend.start()
        await ordered(backend)
        await until(lambda: backend.total("t"))
    said = capsys.readouterr()
    assert (said.out + said.err).count("backend did not answer") <= 3, "once for each kind of call"


async def test_killed_and_restarted_in_the_middle_of_a_task(backend: Backend, settings_for: Any) -> None:
    """Broken: what a task saw during an outage is missing from the flame graph."""
    async with living(settings_for(backend)) as live:
        await ordered(backend)
        for _ in range(2):
            before = backend.total("t")
            await until(lambda: backend.total("t") > before + 3)  # noqa: B023 - awaited at once
            await backend.stop()
            seen = live.seen
            await until(lambda: live.seen > seen + 3)  # noqa: B023
            await backend.start()
        await live.settle(lambda: backend.total("t"))
        await live.end()
    assert backend.total("t") == live.seen
    assert live.lost == {}


async def test_a_proxy_that_cuts_streams(backend: Backend, settings_for: Any) -> None:
    """Broken: a cut loses the deltas of its stream, or counts those twice that had arrived."""
    proxy = CuttingProxy(backend.port)
    await proxy.start()
    samples = [its_sample(f"work_{n}" * 10, "main") for n in range(200)]
    through = {"core.backend.addr": f"localhost:{proxy.port}"}
    async with living(settings_for(backend, **through), *samples) as live:
        await ordered(backend)
        cuts = 0
        for _ in range(20):
            await asyncio.sleep(0.05)
            cuts += proxy.cut()
        await live.settle(lambda: backend.total("t"))
        await live.end()
    await proxy.stop()
    assert cuts >= 3
    assert backend.total("t") == live.seen
    assert live.lost == {}


async def test_a_stream_broken_off_by_the_backend(backend: Backend, settings_for: Any) -> None:
    """Broken: half of a stream is counted twice, since its first half had arrived."""
    backend.calls["collectProfilingData"].cut_after = 30
    samples = [its_sample(f"work_{n}", "main") for n in range(50)]
    async with living(settings_for(backend), *samples) as live:
        await ordered(backend)
        await until(lambda: len(backend.calls["collectProfilingData"].requests) >= 2)
        backend.calls["collectProfilingData"].cut_after = None
        await live.settle(lambda: backend.total("t"))
        await live.end()
    assert backend.received > len(backend.rows), "something did come twice"
    assert backend.total("t") == live.seen


async def test_a_backend_that_hangs_holds_up_nobody(
    backend: Backend, settings_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a hanging backend stops profilers, other exporters, or the end of the agent."""
    monkeypatch.setattr(connection, "_ASK_WITHIN_S", 0.3)
    monkeypatch.setattr(connection, "_SEND_WITHIN_S", 0.3)
    async with living(settings_for(backend)) as live:
        await ordered(backend)
        await until(lambda: backend.total("t"))
        for name in ("collectProfilingData", "keepAlive", "reportProcesses", "queryTasks"):
            backend.calls[name].hanging = True
        seen = live.seen
        await until(lambda: live.seen > seen + 10)
        for calls in backend.calls.values():
            calls.hanging = False
        await live.settle(lambda: backend.total("t"))
        await live.end()
    assert backend.total("t") == live.seen


@pytest.mark.parametrize("code", ["INTERNAL", "UNKNOWN", "UNAUTHENTICATED", "RESOURCE_EXHAUSTED"])
async def test_errors_that_may_pass_lose_nothing(code: str, backend: Backend, settings_for: Any) -> None:
    """Broken: a backend in trouble costs the data of its trouble."""
    async with living(settings_for(backend)) as live:
        await ordered(backend)
        backend.calls["collectProfilingData"].failure = grpc.StatusCode[code]
        await until(lambda: live.seen > 5)
        backend.calls["collectProfilingData"].failure = None
        await live.settle(lambda: backend.total("t"))
        await live.end()
    assert backend.total("t") == live.seen
    assert live.lost == {}


async def test_what_is_refused_for_good_is_counted(backend: Backend, settings_for: Any) -> None:
    """Broken: data that the backend will never take is sent for ever, or vanishes without a word."""
    backend.calls["collectProfilingData"].failure = grpc.StatusCode.INVALID_ARGUMENT
    async with living(settings_for(backend)) as live:
        await ordered(backend)
        await until(lambda: live.lost)
        backend.calls["collectProfilingData"].failure = None
        await until(lambda: backend.total("t"))
        await live.end()
    assert backend.total("t") + live.lost[Loss.EXPORTER_DOWN] == live.seen


async def test_a_full_buffer_drops_the_oldest_and_counts_it(backend: Backend, settings_for: Any, capsys: Any) -> None:
    """Broken: an outage of a night fills the memory, or loses data without a word."""
    samples = [its_sample(f"{n}" * 2000, "main") for n in range(10)]
    async with living(settings_for(backend, **{"core.backend.buffer": "64KB"}), *samples) as live:
        await ordered(backend)
        await until(lambda: backend.total("t"))
        backend.calls["collectProfilingData"].failure = grpc.StatusCode.UNAVAILABLE
        await until(lambda: live.lost)
        backend.calls["collectProfilingData"].failure = None
        before = backend.total("t")
        await until(lambda: backend.total("t") > before)
        await live.end()
    ledger = live.agent.ledger.exporters["skywalking"]
    assert set(ledger.lost) == {Loss.QUEUE_FULL}
    assert ledger.kept == live.seen - ledger.lost[Loss.QUEUE_FULL]
    # What was on its way when the backend began to fail may have arrived all the same; none is counted that did not.
    assert backend.total("t") >= ledger.kept
    said = capsys.readouterr()
    assert (said.out + said.err).count("unsent data dropped") == 1


async def test_what_is_left_at_the_end_is_counted(backend: Backend, settings_for: Any) -> None:
    """Broken: an agent that is stopped during an outage hangs, or says that all was delivered."""
    async with living(settings_for(backend)) as live:
        await ordered(backend)
        await until(lambda: backend.total("t"))
        await backend.stop()
        await until(lambda: live.seen > backend.total("t") + 3)
        await live.end()
    ledger = live.agent.ledger.exporters["skywalking"]
    assert ledger.lost == {Loss.EXPORTER_DOWN: live.seen - backend.total("t")}
    assert ledger.kept == backend.total("t")


async def test_authentication(settings_for: Any, capsys: Any) -> None:
    """Broken: the secret is not sent with every call, or is in the log; or one that is wrong is not said to be."""
    backend = Backend(authentication="s3cret")
    await backend.start()
    async with living(settings_for(backend, **{"core.backend.authentication": "s3cret"})):
        await ordered(backend)
        await until(lambda: backend.total("t"))
    assert all(each["authentication"] == "s3cret" for calls in backend.calls.values() for each in calls.metadata)
    async with living(settings_for(backend, **{"core.backend.authentication": "wrong0"})):
        await until(lambda: any(m["authentication"] == "wrong0" for m in backend.calls["reportProcesses"].metadata))
        await asyncio.sleep(0.1)
    said = capsys.readouterr()
    assert "UNAUTHENTICATED: who are you?" in said.out + said.err
    assert "s3cret" not in said.out + said.err
    await backend.stop()


async def test_a_name_that_does_not_resolve(backend: Backend, settings_for: Any, capsys: Any) -> None:
    """Broken: a DNS that fails ends the agent."""
    async with living(settings_for(backend, **{"core.backend.addr": "backend.invalid:11800"})) as live:
        await asyncio.sleep(0.5)
        assert not live.running.done()
    said = capsys.readouterr()
    assert "backend.invalid" in said.out + said.err


async def test_a_task_for_a_process_that_exits(backend: Backend, settings_for: Any, make_process: Any) -> None:
    """Broken: the task of a dead process goes on until its time is up, or fails the agent."""
    child = await asyncio.create_subprocess_exec("sleep", "60")
    found = procfs.read_process(child.pid)
    assert found
    process = replace(found, entities=profiled_process().entities)
    async with living(settings_for(backend), processes=[process]) as live:
        await ordered(backend)
        await until(lambda: live.profiler.running)
        child.kill()
        await child.wait()
        await until(lambda: not live.profiler.running)
        assert not live.running.done()


async def test_a_thousand_processes(backend: Backend, settings_for: Any, make_process: Any) -> None:
    """Broken: a large host's report is too large for the backend, or some of it stays without ids."""
    long = {"command_line": "x" * 5000}
    many = [make_process(f"job-{n}", 10_000 + n, properties=long) for n in range(1000)]
    async with living(settings_for(backend), processes=many):
        await until(lambda: len(backend.processes) == 1000)
        await until(lambda: sum(len(r.processes) for r in backend.calls["keepAlive"].requests) >= 1000)
    reports = backend.calls["reportProcesses"].requests
    assert max(request.ByteSize() for request in reports) < 4 << 20


async def test_memory_is_flat_over_two_hundred_tasks(
    backend: Backend, settings_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: every task leaves something behind, and an agent that works for months grows."""
    samples = [its_sample(f"work_{n}", "main") for n in range(50)]
    names = [f"part-{n}" for n in range(10)]
    entities = tuple(Entity("OS_LINUX", "shop", "host", name) for name in names)
    configure_logs("WARNING")
    async with living(
        settings_for(backend), *samples, processes=[replace(this_process(), entities=entities)]
    ) as live:
        await until(lambda: len(backend.processes) == len(names))
        polling, exporter = live.client.source._polling, live.client.exporter
        assert polling
        polling._interval_s = 0.02

        async def run_ten() -> None:
            backend.tasks.clear()
            for process_id in backend.processes:
                backend.order(f"t-{time.monotonic_ns()}", [process_id])
            await until(lambda: len(live.profiler.running) == len(names))
            for task in list(live.profiler.running):
                live.agent.cancel(task)
            await until(lambda: not live.profiler.running)

        async def run(rounds: int) -> int:
            """How many objects there are when so many tasks more are over, delivered and forgotten."""
            for _ in range(rounds):
                await run_ten()
            await until(lambda: not exporter._outbox and not exporter._in_hand)
            backend.tasks.clear()
            with monkeypatch.context() as later:
                later.setattr(accepted, "_LINGER_NS", -(10**15))  # as if their time had long been up
                await until(lambda: not exporter._accepted)
            for kept in (backend.rows, backend.calls, live.profiler.calls, live.profiler.processes):
                kept.clear()
            live.profiler._since_ns.clear()
            gc.collect()
            return sys.getallocatedblocks()

        before = await run(5)
        after = await run(20)
    structlog.reset_defaults()
    print(f"{after - before} objects more after 200 tasks")
    assert after - before < 4000, "twenty for each"
