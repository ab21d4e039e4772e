"""The task source: between an agent, sources of policies and the clock."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
from watched_host import SECOND, Host, make_process, policy

from rover_continuous.meters import make_meters
from rover_continuous.plugin import rover_task_sources
from rover_continuous.settings import ContinuousSettings, TriggerSettings
from rover_continuous.source import ContinuousSource
from rover_continuous.triggers import TriggerBook
from rover_continuous.watchlist import Watchlist
from rover_core.api import Observation, RequestSums
from rover_core.config.loading import load_settings
from rover_core.model import Loss, Meter, Process, Telemetry
from rover_core.plugins import PluginManager
from rover_core.policies import Monitor, Policy, Trigger, Uri
from rover_core.testing import FakeContext, this_process

THREADS, ERRORS, TIMES = Monitor.PROCESS_THREAD_COUNT, Monitor.HTTP_ERROR_RATE, Monitor.HTTP_AVG_RESPONSE_TIME
QUICK = ContinuousSettings(fetch_interval=100_000_000, check_interval=100_000_000)


class Source:
    """A source of policies that answers as it is told to."""

    name = "fake"

    def __init__(self, policies: Sequence[Policy] = (), answer: Any = "their id") -> None:
        self.policies = policies
        self.answer = answer
        self.reported: list[Trigger] = []

    async def report(self, trigger: Trigger) -> str:
        self.reported.append(trigger)
        if isinstance(self.answer, Exception):
            raise self.answer
        return str(self.answer)


def living(service: str = "shop") -> Process:
    """This very process, of a service."""
    return make_process(this_process().key, service)


async def triggered(sources: list[Source], **more: Any) -> FakeContext:
    """An agent's context after the first task was submitted."""
    context = FakeContext([living()], profilers=("ON_CPU",))
    source = ContinuousSource(QUICK, TriggerSettings(), more.get("policies", []), sources)
    running = asyncio.create_task(source.run(context))
    async with asyncio.timeout(20):
        while not context.tasks:
            assert not running.done(), running.exception()
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.4)
    running.cancel()
    await asyncio.wait([running])
    return context


async def test_a_source_of_policies_gives_the_task_its_id() -> None:
    """Broken: what a backend ordered runs under an id that it does not know."""
    source = Source([policy("ON_CPU", THREADS, 1, 5, 1)])
    context = await triggered([source])
    assert list(context.tasks) == ["their id"], "begun once, however often it is checked"
    (trigger,) = source.reported
    assert trigger.entity is not None
    assert (trigger.entity.service, trigger.process.pid) == ("shop", this_process().pid)
    assert context.tasks["their id"].attributes["causes"].startswith(f"shop ({trigger.process.pid}): PROCESS_THREAD")


@pytest.mark.parametrize("answer", [OSError("gone"), TimeoutError()])
async def test_profiling_does_not_depend_on_who_is_told(answer: Exception) -> None:
    """Broken: without its backend the agent misses the moment that it was waiting for."""
    context = await triggered([Source(answer=answer)], policies=[policy("ON_CPU", THREADS, 1, 5, 1)])
    (task,) = context.tasks.values()
    assert task.id.endswith(f"-oncpu-{this_process().pid}")


async def test_metrics_are_published_with_every_check() -> None:
    """Broken: a backend sees nothing of what is watched."""
    context = await triggered([], policies=[policy("ON_CPU", THREADS, 1, 5, 1)])
    batches = [batch for batch in context.published if isinstance(batch, Telemetry)]
    meters = [meter for batch in batches for meter in batch.meters]
    assert {meter.name for meter in meters} == {"rover_con_p_process_thread_count"}
    assert meters[0].labels == (("process_name", "shop"), ("layer", "OS_LINUX"))
    assert {batch.task_id for batch in batches} == {""}, "they are no task's"
    assert 1 <= len(meters) < len(batches) + 2, "a second's value but once"


class Clocked:
    """A source whose time and fetches are the test's."""

    def __init__(self, policies: list[Policy], processes: list[Process], **settings: Any) -> None:
        self.now_ns = 1000 * SECOND
        self.context = FakeContext(processes, profilers=("ON_CPU", "NETWORK"))
        self.source = ContinuousSource(
            ContinuousSettings(**settings), TriggerSettings(), policies, clock=lambda: self.now_ns
        )
        self.book = TriggerBook(1, 1, self.context.task_state)
        self.begun: list[Trigger] = []

    def run(self, seconds: int) -> int:
        """So many fetches. Returns how often the thresholds were looked at."""
        before = len(self.context.published)
        for _ in range(seconds):
            self.begun += [trigger for _, trigger in self.source.step(self.context, self.book)]
            self.now_ns += SECOND
        return len(self.context.published) - before


def test_fetches_and_checks_have_their_own_intervals() -> None:
    """Broken: values are compared with every fetch, or a timer that is early by a hair puts a check off."""
    clocked = Clocked([policy("ON_CPU", THREADS, 10_000, 5, 1)], [living()])
    assert clocked.run(21) == 5, "at 0, 5, 10, 15 and 20 s"
    clocked.now_ns -= 1000
    assert clocked.run(5) == 1


def test_a_process_that_comes_later_is_watched_with_the_next_check() -> None:
    """Broken: processes are only looked for when a policy changes (contract section 8.2)."""
    clocked = Clocked([policy("ON_CPU", THREADS, 1, 5, 1)], [])
    clocked.run(6)
    clocked.context.find([living()])
    clocked.run(6)
    assert [trigger.process.pid for trigger in clocked.begun] == [this_process().pid]


def points(meters: list[Meter]) -> list[tuple[str, dict[str, Any], float]]:
    return [(meter.name, dict(meter.labels), float(meter.value)) for meter in meters]  # type: ignore[arg-type]


def test_metrics_have_the_contracts_names_and_labels(host: Host, watchlist: Watchlist) -> None:
    """Broken: a backend's rules find nothing, or a second's value twice (contract section 5.9)."""
    a, b, shop = Uri(path="/a"), Uri(regex="^/b"), [make_process(host.set(pid, threads=pid)) for pid in (3, 8)]
    rules = [
        policy("ON_CPU", THREADS, 1, 5, 1),
        policy("OFF_CPU", THREADS, 2, 5, 1),
        policy("NETWORK", ERRORS, 1, 5, 1, a, b),
        policy("NETWORK", TIMES, 1, 5, 1, Uri()),
    ]
    watchlist.update(rules, shop)
    watchlist.fetch(100 * SECOND)
    sums = [
        RequestSums(a, 3, 98, 4, 1, 10**9),
        RequestSums(a, 8, 98, 4, 0, 10**9),
        RequestSums(a, 8, 99, 1, 1, 10**9),
        RequestSums(b, 3, 98, 1, 0, 10**9),
        RequestSums(Uri(), 3, 99, 2, 0, 10**9),
        RequestSums(Uri(), 77, 99, 2, 0, 10**9),
    ]
    made = make_meters("rover_con_p", watchlist, 95, 100, sums)
    names = {"process_name": "shop", "layer": "OS_LINUX"}
    assert points(made) == [
        ("rover_con_p_process_thread_count", names, 8.0),
        ("rover_con_p_http_error_rate", {"uri": "/a", **names}, 100.0),
        ("rover_con_p_http_avg_response_time", {"uri": "global", **names}, 500.0),
        ("rover_con_p_http_error_rate", {"uri": "/a", **names}, 12.5),
        ("rover_con_p_http_error_rate", {"uri": "^/b", **names}, 0.0),
    ]
    assert [name for name, _ in made[1].labels] == ["uri", "process_name", "layer"]
    assert (made[0].entity.service, made[0].entity.instance) == ("shop", "host")
    assert make_meters("rover_con_p", watchlist, 100, 100, []) == [], "told already"


async def test_requests_are_watched_for_as_long_as_a_policy_needs_them() -> None:
    """Broken: the monitor of requests runs for nobody, its losses are not told, or it ends with its first failure."""
    wants = [policy("NETWORK", ERRORS, 50, 5, 1, Uri(path="/a"))]
    source = Source(wants)
    context = FakeContext([living()], profilers=("NETWORK",))
    second = time.monotonic_ns() // SECOND
    sums = (RequestSums(Uri(path="/a"), this_process().pid, second, 4, 3, 1),)
    context.observations = [Observation(), Observation(sums, {Loss.RING_FULL: 7})]
    running = asyncio.create_task(ContinuousSource(QUICK, TriggerSettings(), [], [source]).run(context))
    async with asyncio.timeout(20):
        while not context.tasks or not any(batch.completeness.lost for batch in context.published):
            await asyncio.sleep(0.01)
        assert [(each.uri, each.pids) for each in context.watched] == [
            (Uri(path="/a"), frozenset({this_process().pid}))
        ]
        source.policies = []
        while context.watched:
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])
    (trigger,) = source.reported
    assert (trigger.causes[0].current, trigger.causes[0].uri) == (75.0, Uri(path="/a"))
    lost = [batch.completeness.lost for batch in context.published if batch.completeness.lost]
    assert lost == [{Loss.RING_FULL: 7}]


async def test_it_is_told_what_becomes_of_watching_requests() -> None:
    """Broken: for ten seconds nobody knows why there are no values; or it says so with every look."""

    class Onlooker:
        said: ClassVar[list[str]] = []

        def checked(self, looks: Any) -> None: ...

        def begun(self, trigger: Trigger, task_id: str) -> None: ...

        def requests(self, state: str) -> None:
            self.said.append(state)

    class Failing(FakeContext):
        fails = False

        async def observe(self, watches: Any) -> Observation:
            if watches and self.fails:
                raise OSError("no ring")
            return await super().observe(watches)

    context, wants = Failing([living()], profilers=("NETWORK",)), [policy("NETWORK", ERRORS, 50, 5, 1, Uri())]
    source = ContinuousSource(QUICK, TriggerSettings(), wants, audience=Onlooker())
    running = asyncio.create_task(source.run(context))
    async with asyncio.timeout(20):
        while len(Onlooker.said) < 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        context.fails = True
        while len(Onlooker.said) < 3:
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])
    assert Onlooker.said == ["loading", "watched", "not watched"]


async def test_who_cannot_watch_requests_still_watches_processes() -> None:
    """Broken: without a profiler of connections, other monitors do not run either."""

    class Unable(FakeContext):
        async def observe(self, watches: Any) -> Observation:
            raise OSError("no ring")

    context = Unable([living()], profilers=("ON_CPU",))
    both = [policy("ON_CPU", THREADS, 1, 5, 1), policy("NETWORK", ERRORS, 50, 5, 1, Uri())]
    running = asyncio.create_task(ContinuousSource(QUICK, TriggerSettings(), both).run(context))
    async with asyncio.timeout(20):
        while not context.tasks:
            await asyncio.sleep(0.01)
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])


def manager() -> PluginManager:
    from rover_continuous import plugin

    made = PluginManager()
    made.register("continuous", plugin)
    return made


def test_an_agent_without_policies_stands_alone_as_before() -> None:
    """Broken: installing this plugin ends what `rover run` does without any configuration."""
    plugins = manager()
    assert plugins.task_sources(load_settings(plugins.sections(), environ={})) == []
    own = {
        "profiling.continuous.policies": [
            {"service_name": "a", "profiling": {"ON_CPU": {"SYSTEM_LOAD": {"threshold": 1, "period": 1, "count": 1}}}}
        ]
    }
    assert len(plugins.task_sources(load_settings(plugins.sections(), environ={}, overrides=own))) == 1
    inactive = load_settings(plugins.sections(), environ={}, overrides={**own, "profiling.active": "false"})
    assert plugins.task_sources(inactive) == []
    settings = load_settings(plugins.sections(), environ={})
    assert len(rover_task_sources(settings, lambda: [Source()])) == 1


FILE = """
profiling:
  continuous:
    check_interval: 2s
    policies:
      - service_name: shop
        profiling:
          on_cpu: {process_cpu: {threshold: 12.5, period: 10, count: 8}}
          NETWORK:
            HTTP_ERROR_RATE: {Threshold: "10", Period: 10, Count: 1, URIList: [/a, /b]}
            HTTP_AVG_RESPONSE_TIME: {threshold: 200, period: 5, count: 5, uri_regex: ^/api}
    trigger: {execute_duration: 1m}
"""


def test_policies_of_the_configuration_have_the_backends_shape(tmp_path: Any) -> None:
    """Broken: a policy cannot be taken over from SkyWalking, or is not what it says."""
    file = tmp_path / "rover.yaml"
    file.write_text(FILE)
    settings = load_settings(manager().sections(), file=file, environ={})
    own = settings.section(ContinuousSettings)
    assert own.check_interval == 2 * SECOND
    assert settings.section(TriggerSettings).silence_duration == 1200 * SECOND
    (mine,) = [each.policy for each in own.policies]
    assert mine.service == "shop"
    (cpu,) = mine.thresholds["ON_CPU"]
    assert (cpu.monitor, cpu.value, cpu.period_s, cpu.count) == (Monitor.PROCESS_CPU, 12.5, 10, 8)
    errors, times = mine.thresholds["NETWORK"]
    assert errors.uris == (Uri(path="/a"), Uri(path="/b"))
    assert (times.value, times.uris) == (200.0, (Uri(regex="^/api"),))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("profiling: {}", "a policy says what to begin"),
        ("profiling: {ON_CPU: {PROCESS_MEMORY: {threshold: 1, period: 1, count: 1}}}", "PROCESS_MEMORY"),
        ("profiling: {ON_CPU: {PROCESS_CPU: {threshold: 1, period: 5, count: 6}}}", "the count is 6"),
        ("profiling: {ON_CPU: {PROCESS_CPU: {threshold: much, period: 5, count: 5}}}", "much"),
        (
            "profiling: {ON_CPU: {PROCESS_CPU: {threshold: 1, period: 5, count: 5, uri_regex: (}}}",
            "regular expression",
        ),
        ("profiling: {ON_CPU: {PROCESS_CPU: {threshold: 1, period: 5, counts: 5}}}", "counts"),
    ],
)
def test_a_mistake_in_a_policy_is_named(tmp_path: Any, text: str, says: str) -> None:
    """Broken: a policy that can never be heeded is accepted."""
    file = tmp_path / "rover.yaml"
    file.write_text(f"profiling:\n  continuous:\n    policies:\n      - service_name: shop\n        {text}\n")
    with pytest.raises(Exception, match="policies") as caught:
        load_settings(manager().sections(), file=file, environ={})
    assert says in str(caught.value)
    assert "line" in str(caught.value)
