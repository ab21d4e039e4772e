"""From thresholds that were passed to tasks: what is begun together, and what is not begun again yet."""

import re
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rover_continuous.watchlist import Look
from rover_core.api import TaskState
from rover_core.logs import get_logger
from rover_core.model import SamplingRule, Task
from rover_core.policies import CAUSES, Cause, Monitor, Trigger, Uri

log = get_logger("continuous")

TRIGGER = "continuous policy"
NETWORK = "NETWORK"
_RETRY_NS = 30_000_000_000  # after a task that could not start: trying again may mean to compile again
_ONE_BY_ONE = 64  # processes of a task; more of them are profiled with all others of the host
_MAIN = ("mesh-application", "k8s-service")  # labels of the process that speaks for an instance, the best first
Dimension = tuple[str, Hashable]
"""A profiler's name and what is profiled by it at most once at a time: a process, an instance, or the host (None)."""


def dimension_of(look: Look) -> Dimension:
    """Contract section 3.6, suppression: a process as a backend knows it, of network profiling its instance.

    Of processes that were picked, each by itself; the load, which is no process's, is all of theirs.
    """
    entity, profiler = look.rule.entity, look.rule.profiler
    if entity is None:
        return profiler, None if look.rule.threshold.monitor is Monitor.SYSTEM_LOAD else look.process.key
    if profiler == NETWORK:
        return profiler, (entity.service, entity.instance)
    return profiler, (entity.layer, entity.service, entity.instance, entity.process)


@dataclass(slots=True)
class _Begun:
    """task_id: "" while it is reported. since_ns: when it was first seen to run, or when it was submitted."""

    task_id: str
    since_ns: int
    ran: bool = False


@dataclass(slots=True)
class TriggerBook:
    """What was begun. state_of: of a task by its id."""

    execute_ns: int
    silence_ns: int
    state_of: Callable[[str], TaskState]
    _begun: dict[Dimension, _Begun] = field(default_factory=dict)
    _not_before: dict[Dimension, int] = field(default_factory=dict)
    _missing: set[str] = field(default_factory=set)

    def follow(self, now_ns: int) -> None:
        """See what became of the tasks, every second or so."""
        for dimension, begun in list(self._begun.items()):
            if not begun.task_id:
                continue
            state = self.state_of(begun.task_id)
            if state is TaskState.RUNNING and not begun.ran:
                begun.ran, begun.since_ns = True, now_ns
            elif state is TaskState.FAILED and not begun.ran:
                del self._begun[dimension]
                self._not_before[dimension] = now_ns + _RETRY_NS
            elif state in (TaskState.OVER, TaskState.FAILED) and now_ns - begun.since_ns >= self.silence_ns:
                del self._begun[dimension]
        self._not_before = {key: until_ns for key, until_ns in self._not_before.items() if until_ns > now_ns}

    def decide(
        self, looks: Iterable[Look], profilers: Collection[str], now_ns: int
    ) -> Iterator[tuple[Dimension, Trigger]]:
        """What is to be begun now. What is yielded counts as begun; `begin` says under which id."""
        groups: dict[Dimension, list[Look]] = {}
        for look in looks:
            if look.passed and self._has(look.rule.profiler, profilers):
                groups.setdefault(dimension_of(look), []).append(look)
        for dimension, members in groups.items():
            if dimension not in self._begun and dimension not in self._not_before:
                self._begun[dimension] = _Begun("", now_ns)
                yield dimension, _trigger(members, self.execute_ns)

    def begin(self, dimension: Dimension, task_id: str, now_ns: int) -> None:
        """It was submitted."""
        self._begun[dimension] = _Begun(task_id, now_ns)

    def _has(self, profiler: str, profilers: Collection[str]) -> bool:
        if profiler not in profilers and profiler not in self._missing:  # once, not with every check
            self._missing.add(profiler)
            plugin = profiler.lower().replace("_", "")
            log.warning("policy not heeded", reason=f"no plugin here profiles {profiler}", remedy=f"rover-{plugin}")
        return profiler in profilers


def _trigger(members: Sequence[Look], execute_ns: int) -> Trigger:
    """Of one dimension. The main process is the one it is told of; the task is about all of them."""
    main = min(members, key=_rank)
    ours = [look for look in members if look.process is main.process]
    causes = tuple(dict.fromkeys(map(_cause, ours)))
    profiler, uris = main.rule.profiler, [cause.uri for cause in causes if cause.uri is not None]
    word = profiler.lower().replace("_", "")
    keys = tuple(dict.fromkeys(look.process.key for look in members))
    task = Task(
        f"{time.strftime('%Y%m%d-%H%M%S')}-{word}-{main.process.pid}",
        profiler,
        keys if len(keys) <= _ONE_BY_ONE else None,
        duration_ns=execute_ns,
        settings={"sampling": sampling_of(uris)} if uris and profiler == NETWORK else {},
        trigger=TRIGGER,
        attributes={CAUSES: f"{main.process.name} ({main.process.pid}): " + "; ".join(map(str, causes))},
    )
    entity = main.rule.entity or next(iter(main.process.entities), None)
    return Trigger(task, main.process, entity, causes)


def _rank(look: Look) -> int:
    labels = look.rule.entity.labels if look.rule.entity and look.rule.profiler == NETWORK else ()
    return next((at for at, label in enumerate(_MAIN) if label in labels), len(_MAIN))


def _cause(look: Look) -> Cause:
    return Cause(look.rule.threshold.monitor, look.rule.threshold.value, look.over[0], look.uri)


def sampling_of(uris: Sequence[Uri]) -> tuple[SamplingRule, ...]:
    """Contract section 3.6: all exchanges of these URIs, whole. A path stands for itself alone."""
    expressions = {f"^{re.escape(uri.path)}$" if uri.path else uri.regex for uri in uris}
    return tuple(
        SamplingRule(expression or None, 0, when_4xx=True, when_5xx=True, attach_request=True, attach_response=True)
        for expression in ([""] if "" in expressions else sorted(expressions))
    )
