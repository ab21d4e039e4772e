"""Continuous profiling as a task source: reads, compares, tells, and begins tasks."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, Protocol

from rover_continuous.meters import make_meters
from rover_continuous.settings import ContinuousSettings, TriggerSettings
from rover_continuous.triggers import Dimension, TriggerBook
from rover_continuous.watchlist import Look, Watchlist
from rover_core.api import AgentContext, Observation, PolicySource, RequestSums
from rover_core.logs import get_logger
from rover_core.model import Completeness, Loss, Telemetry
from rover_core.policies import Policy, Trigger

log = get_logger("continuous")

NAME = "CONTINUOUS"
_SECOND = 1_000_000_000
_REPORT_WITHIN_S = 5.0
_TRY_AGAIN_S = 60.0  # after requests could not be watched, which may have taken a compilation to find out
_MOST_SUMS = 100_000  # between two checks


Requests = Literal["loading", "watched", "not watched"]


class Audience(Protocol):
    """Who looks on. Called on the event loop."""

    def checked(self, looks: Sequence[Look]) -> None:
        """What was found, and what of it was too much."""
        ...

    def begun(self, trigger: Trigger, task_id: str) -> None: ...

    def requests(self, state: Requests) -> None:
        """What became of watching requests. Loading the program for it takes some seconds."""
        ...


class ContinuousSource:
    """A `rover_core.api.TaskSource`. clock: monotonic ns, as that of `RequestSums.second`."""

    name = "continuous"

    def __init__(
        self,
        settings: ContinuousSettings,
        trigger: TriggerSettings,
        policies: Sequence[Policy],
        sources: Sequence[PolicySource] = (),
        audience: Audience | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._settings = settings
        self._trigger = trigger
        self._policies = policies
        self._sources = sources
        self._audience = audience
        self._clock = clock
        self._watchlist = Watchlist()
        self._sums: list[RequestSums] = []
        self._lost: dict[Loss, int] = {}
        self._checked_ns = self._told_ns = 0
        self._requests: Requests = "not watched"

    async def run(self, context: AgentContext) -> None:
        """For ever."""
        book = TriggerBook(self._trigger.execute_duration, self._trigger.silence_duration, context.task_state)
        self._told_ns = time.time_ns()
        async with asyncio.TaskGroup() as group:
            observing = group.create_task(self._keep_observing(context))
            try:
                while True:
                    began_ns = self._clock()
                    for dimension, trigger in self.step(context, book):
                        group.create_task(self._begin(context, book, dimension, trigger))
                    left_ns = began_ns + self._settings.fetch_interval - self._clock()
                    await asyncio.sleep(max(0, left_ns) / 1e9)
            finally:
                observing.cancel()
                self._watchlist.reader.close()

    def step(self, context: AgentContext, book: TriggerBook) -> list[tuple[Dimension, Trigger]]:
        """Fetch; and if that is due check, tell and return what is to be begun."""
        now_ns = self._clock()
        # Half a fetch early, or a timer that is a little early would put it off by a whole one.
        early_ns = self._settings.fetch_interval // 2
        due = not self._checked_ns or now_ns - self._checked_ns >= self._settings.check_interval - early_ns
        if due:
            self._watchlist.update(self._all_policies(), context.processes)
        self._watchlist.fetch(now_ns)
        book.follow(now_ns)
        return self._check(context, book, now_ns) if due else []

    def _all_policies(self) -> list[Policy]:
        return [*self._policies, *(policy for source in self._sources for policy in source.policies)]

    def _check(self, context: AgentContext, book: TriggerBook, now_ns: int) -> list[tuple[Dimension, Trigger]]:
        self._tell(context, now_ns)
        looks = list(self._watchlist.looks(now_ns))
        if self._audience:
            self._audience.checked(looks)
        self._checked_ns = now_ns
        return list(book.decide(looks, context.profilers, now_ns))

    def _tell(self, context: AgentContext, now_ns: int) -> None:
        """Publish the metrics."""
        prefix, second = self._settings.meter_prefix, now_ns // _SECOND
        sums, self._sums = self._sums, []
        lost, self._lost = self._lost, {}
        meters = make_meters(prefix, self._watchlist, self._checked_ns // _SECOND, second, sums)
        if meters or lost:
            completeness = Completeness(len(meters) + sum(lost.values()), len(meters), lost)
            start_ns, self._told_ns = self._told_ns, time.time_ns()
            context.publish(Telemetry("", NAME, start_ns, self._told_ns, tuple(meters), completeness))

    async def _begin(self, context: AgentContext, book: TriggerBook, dimension: Dimension, trigger: Trigger) -> None:
        task_id = await self._report(trigger)
        task = replace(trigger.task, id=task_id)
        context.submit(task)
        book.begin(dimension, task_id, self._clock())
        log.info("policy triggered", task=task_id, profiler=task.profiler, **task.attributes)
        if self._audience:
            self._audience.begun(trigger, task_id)

    async def _report(self, trigger: Trigger) -> str:
        """The id to begin it under: that of the first source that is told of it, its own where nobody is."""
        for source in self._sources:
            try:
                async with asyncio.timeout(_REPORT_WITHIN_S):
                    return await source.report(trigger)
            except Exception as error:  # a plugin's, whatever it is: profiling matters more  # noqa: BLE001
                log.warning("trigger not reported", source=source.name, reason=str(error) or "no answer in time")
        return trigger.task.id

    async def _keep_observing(self, context: AgentContext) -> None:
        """Have requests added up, for as long as a policy needs them."""
        while True:
            wait_s, watches = self._settings.fetch_interval / 1e9, self._watchlist.request_watches
            if watches and self._requests != "watched":
                self._say("loading")
            try:
                self._take(await context.observe(watches))
                self._say("watched" if watches else "not watched")
            except Exception as error:  # a plugin's, whatever it is: other monitors go on  # noqa: BLE001
                log.warning("requests are not watched", reason=str(error))
                self._say("not watched")
                wait_s = _TRY_AGAIN_S
            await asyncio.sleep(wait_s)

    def _say(self, state: Requests) -> None:
        if state != self._requests and self._audience:
            self._audience.requests(state)
        self._requests = state

    def _take(self, observation: Observation) -> None:
        self._watchlist.add(observation.sums)
        room = _MOST_SUMS - len(self._sums)
        self._sums += observation.sums[:room]
        for cause, count in observation.lost.items():
            self._lost[cause] = self._lost.get(cause, 0) + count
