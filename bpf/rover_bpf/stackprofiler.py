"""What profilers that count stacks have in common: tasks on the one side, stack counters on the other.

Tasks that want the same counter (on CPU: the same period) share one, so thirty tasks for thirty processes cost one
program and one compilation. Each task gets the samples of its own processes, exactly from its start to its end:
the counter is emptied whenever a task joins or leaves.
"""

import platform
import time
from collections.abc import Callable, Hashable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from rover_bpf.stackcount import FRAMES, Counts, StackCounter
from rover_bpf.symbols import Symbolizer
from rover_core.model import (
    Completeness,
    Frame,
    Loss,
    Process,
    ProcessKey,
    Profile,
    SampleType,
    StackSample,
    Task,
)

_TICK_NS = 10_000_000  # a clock tick of /proc/<pid>/stat: 1/100 s on every Linux architecture in use
_NOBODY = frozenset[ProcessKey]()
_FORGET_AFTER = 24  # collects without a sample: two minutes at the default flush interval
COLLECT_AT = 0.5
"""Fill of the kernel's maps, 0..1, from which they are emptied before the next drain is due."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of stack profile.

    values: from a counted (events, total ns) to the values of `sample_types`.
    counter_key: which counter a task needs; open_counter: make that counter; period_ns: of such a counter.
    """

    profiler: str
    sample_types: tuple[SampleType, ...]
    values: Callable[[int, int, Hashable], tuple[int, ...]]
    counter_key: Callable[[Task], Hashable]
    open_counter: Callable[[Hashable], StackCounter]
    period_ns: Callable[[Hashable], int]


@dataclass(slots=True)
class _Session:
    """A running task: what it watches and what it has seen since its last profile."""

    task: Task
    targets: set[ProcessKey] | None
    since_ns: int
    samples: list[StackSample] = field(default_factory=list)
    completeness: Completeness = field(default_factory=Completeness)

    def takes(self, process: ProcessKey) -> bool:
        return self.targets is None or process in self.targets


class _Engine:
    """One stack counter and the sessions that share it."""

    def __init__(self, counter: StackCounter, key: Hashable, kind: Kind, symbolizer: Symbolizer) -> None:
        self.counter = counter
        self.key = key
        self.sessions: dict[str, _Session] = {}
        self._kind = kind
        self._symbolizer = symbolizer
        self._collects = 0
        self._last_sampled: dict[ProcessKey, int] = {}

    def add(self, session: _Session) -> None:
        self.collect()
        self.sessions[session.task.id] = session
        self._retarget(session.targets or _NOBODY, _NOBODY)

    def remove(self, task_id: str) -> _Session:
        self.collect()
        session = self.sessions.pop(task_id)
        self._retarget(_NOBODY, session.targets or _NOBODY)
        return session

    def forget(self, task_id: str, process: ProcessKey) -> None:
        targets = self.sessions[task_id].targets
        if targets and process in targets:
            self.collect()
            targets.discard(process)
            self._retarget(_NOBODY, {process})

    def _retarget(self, joined: AbstractSet[ProcessKey], left: AbstractSet[ProcessKey]) -> None:
        wanted = {process.pid for session in self.sessions.values() for process in session.targets or ()}
        self.counter.watch(process.pid for process in joined)
        self.counter.unwatch({process.pid for process in left} - wanted)
        self.counter.watch_all(any(session.targets is None for session in self.sessions.values()))

    def tick(self) -> None:
        for pid, start_ns in self.counter.news():
            self._symbolizer.observe(ProcessKey(pid, start_ns // _TICK_NS))
        if self.counter.fill() > COLLECT_AT:
            self.collect()

    def collect(self) -> None:
        """Take what the kernel has counted and hand every session its share."""
        for pid, start_ns in self.counter.news():
            self._symbolizer.observe(ProcessKey(pid, start_ns // _TICK_NS))
        counts = self.counter.collect()
        rows = _rows(counts)
        self._refresh({process for process, *_ in rows})
        samples = [self._sample(counts, row) for row in rows]
        for session in self.sessions.values():
            self._deliver(session, samples, counts.tally)

    def _refresh(self, sampled: set[ProcessKey]) -> None:
        """Read the mappings of what was sampled, as far as it is alive; forget what has long been quiet."""
        self._collects += 1
        for process in sampled:
            self._symbolizer.observe(process)
            self._last_sampled[process] = self._collects
        quiet = [process for process, last in self._last_sampled.items() if last < self._collects - _FORGET_AFTER]
        for process in quiet:
            self._symbolizer.forget(process)
            del self._last_sampled[process]

    def _sample(self, counts: Counts, row: "_Row") -> tuple[StackSample, int, frozenset[Loss]]:
        process, name, user_hash, kernel_hash, events, total = row
        user = self._symbolizer.user(process, counts.stack(user_hash))
        kernel = self._symbolizer.kernel(counts.stack(kernel_hash))
        flaws = _flaws(user, kernel, self._symbolizer.missing_reason(process))
        values = self._kind.values(events, total, self.key)
        return StackSample(process, name, user, kernel, values), events, flaws

    def _deliver(
        self, session: _Session, samples: list[tuple[StackSample, int, frozenset[Loss]]], tally: dict[str, int]
    ) -> None:
        kept = 0
        degraded: dict[Loss, int] = {}
        for sample, events, flaws in samples:
            if session.takes(sample.process):
                session.samples.append(sample)
                kept += events
                for flaw in flaws:
                    degraded[flaw] = degraded.get(flaw, 0) + events
        # The kernel counts these for all processes it watches together, so sessions that share a counter share them.
        lost = {Loss.MAP_FULL: tally["counts_full"]} if tally["counts_full"] else {}
        if tally["stacks_full"]:
            degraded[Loss.MAP_FULL] = tally["stacks_full"]
        session.completeness += Completeness(kept + sum(lost.values()), kept, lost, degraded)


_Row = tuple[ProcessKey, str, int, int, int, int]


def _rows(counts: Counts) -> "list[_Row]":
    keys, values = counts.keys, counts.values
    columns = (
        keys["tgid"].tolist(),
        keys["start_ns"].tolist(),
        keys["comm"].tolist(),
        keys["user"].tolist(),
        keys["kernel"].tolist(),
        values["events"].tolist(),
        values["total"].tolist(),
    )
    return [
        (ProcessKey(pid, start // _TICK_NS), comm.decode(errors="replace"), user, kernel, events, total)
        for pid, start, comm, user, kernel, events, total in zip(*columns, strict=True)
    ]


def _flaws(user: Sequence[Frame], kernel: Sequence[Frame], why_nameless: Loss) -> frozenset[Loss]:
    flaws = set()
    if any(frame.symbol is None for frame in user):
        flaws.add(why_nameless)
    if any(frame.symbol is None for frame in kernel):
        flaws.add(Loss.UNSYMBOLIZED)
    if len(user) >= FRAMES or len(kernel) >= FRAMES:
        flaws.add(Loss.TRUNCATED_STACK)
    return frozenset(flaws)


class StackProfiler:
    """A `rover_core.api.Profiler` over stack counters."""

    def __init__(self, kind: Kind, symbolizer: Symbolizer | None = None) -> None:
        self.name = kind.profiler
        self._kind = kind
        self._symbolizer = symbolizer or Symbolizer()
        self._engines: dict[Hashable, _Engine] = {}

    def start(self, task: Task, processes: Sequence[Process] | None) -> None:
        key = self._kind.counter_key(task)
        engine = self._engines.get(key)
        if engine is None:
            engine = _Engine(self._kind.open_counter(key), key, self._kind, self._symbolizer)
        targets = None if processes is None else {process.key for process in processes}
        try:
            for process in targets or ():
                self._symbolizer.observe(process)
            engine.add(_Session(task, targets, time.time_ns()))
        except BaseException:
            if not engine.sessions:
                engine.counter.close()
            raise
        self._engines[key] = engine

    def _engine_of(self, task_id: str) -> _Engine | None:
        return next((engine for engine in self._engines.values() if task_id in engine.sessions), None)

    def forget(self, task_id: str, process: ProcessKey) -> None:
        engine = self._engine_of(task_id)
        if engine:
            engine.forget(task_id, process)

    def tick(self) -> None:
        for engine in self._engines.values():
            engine.tick()

    def drain(self) -> list[Profile]:
        profiles: list[Profile] = []
        for engine in self._engines.values():
            engine.collect()
            profiles.extend(self._profile(session, engine) for session in engine.sessions.values())
        return profiles

    def stop(self, task_id: str) -> Profile | None:
        engine = self._engine_of(task_id)
        if engine is None:
            return None
        profile = replace(self._profile(engine.remove(task_id), engine), last=True)
        if not engine.sessions:
            engine.counter.close()
            del self._engines[engine.key]
        return profile

    def close(self) -> None:
        while self._engines:
            self._engines.popitem()[1].counter.close()

    def _profile(self, session: _Session, engine: _Engine) -> Profile:
        now = time.time_ns()
        profile = Profile(
            session.task.id,
            self.name,
            session.since_ns,
            now,
            self._kind.sample_types,
            tuple(session.samples),
            session.completeness,
            self._kind.period_ns(engine.key),
            {"probe": engine.counter.attachment.probe.label, "host": platform.node()},
        )
        session.since_ns, session.samples, session.completeness = now, [], Completeness()
        return profile
