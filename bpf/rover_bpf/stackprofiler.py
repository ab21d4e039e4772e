"""What profilers that count stacks have in common: tasks on the one side, stack counters on the other.

Tasks that want the same counter (on CPU: the same period) share one, so thirty tasks for thirty processes cost one
program and one compilation. Each task gets the samples of its own processes, exactly from its start to its end:
the counter is emptied whenever a task joins or leaves.
"""

import itertools
import platform
import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from rover_bpf.shipped import ShippedStacks
from rover_bpf.stackbook import StackBook
from rover_bpf.stackcount import FRAMES, StackCounter
from rover_bpf.stackkind import Row, StackKind, process_key, read_rows
from rover_bpf.symbols import Symbolizer
from rover_core.model import (
    Completeness,
    Frame,
    Labels,
    Loss,
    Process,
    ProcessKey,
    Profile,
    StackSample,
    Task,
)

_NOBODY = frozenset[ProcessKey]()
_NOTHING: Mapping[Loss, int] = {}
_UNFINISHED: Labels = (("unfinished", "true"),)
_FORGET_AFTER = 24  # collects without a sample: two minutes at the default flush interval
COLLECT_AT = 0.5
"""Fill of the kernel's maps, 0..1, from which they are emptied before the next drain is due."""


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

    def take(
        self,
        counted: "Iterable[_Counted]",
        lost: Mapping[Loss, int] = _NOTHING,
        stackless: Mapping[Loss, int] = _NOTHING,
    ) -> None:
        """Keep the samples of this session's processes, and what became of others, as numbers of events."""
        kept = 0
        degraded = dict(stackless)
        for sample, events, flaws in counted:
            if self.takes(sample.process):
                self.samples.append(sample)
                kept += events
                for flaw in flaws:
                    degraded[flaw] = degraded.get(flaw, 0) + events
        self.completeness += Completeness(kept + sum(lost.values()), kept, lost, degraded)


class _Counted(NamedTuple):
    sample: StackSample
    events: int
    flaws: frozenset[Loss]


class _Engine:
    """One stack counter and the sessions that share it."""

    def __init__(self, counter: StackCounter, key: Hashable, kind: StackKind, symbolizer: Symbolizer) -> None:
        self.counter = counter
        self.key = key
        self.sessions: dict[str, _Session] = {}
        self._kind = kind
        self._symbolizer = symbolizer
        self._book = StackBook()
        self._shipped = ShippedStacks(counter, self._book, kind.unwind(key))
        self._collects = 0
        self._last_sampled: dict[ProcessKey, int] = {}

    def add(self, session: _Session) -> None:
        self.collect()
        self.sessions[session.task.id] = session
        self._retarget(session.targets or _NOBODY, _NOBODY)

    def remove(self, task_id: str) -> _Session:
        self.collect()
        session = self.sessions.pop(task_id)
        self._deliver_unfinished(session)
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
        self._meet()
        self._shipped.read()
        if self.counter.fill() > COLLECT_AT:
            self.collect()

    def _meet(self) -> None:
        """Look at the processes that were counted for the first time, while they are alive."""
        for process in itertools.starmap(process_key, self.counter.news()):
            self._symbolizer.observe(process)
            self._shipped.meet(process)

    def collect(self) -> None:
        """Take what the kernel has counted and hand every session its share."""
        self._meet()
        counts = self.counter.collect()
        self._book.add(counts.stacks)
        self._shipped.read()
        rows = read_rows(counts.keys, counts.values)
        self._refresh({row.process for row in rows})
        samples = [self._sample(row) for row in rows]
        for session in self.sessions.values():
            # The kernel counts losses for all that it watches, so sessions that share a counter share them too.
            session.take(samples, _lost(counts.tally), _stackless(counts.tally))
        self._book.turn(self.counter.waiting_stacks())

    def _deliver_unfinished(self, session: _Session) -> None:
        for late in self.counter.late_stacks():
            if session.takes(late.process):
                self._shipped.take_late(late)
        rows = [row for row in read_rows(*self.counter.unfinished()) if session.takes(row.process)]
        self.collect()  # the stacks of those that began just now
        self._refresh({row.process for row in rows})
        session.take([self._sample(row, _UNFINISHED) for row in rows])

    def _refresh(self, sampled: set[ProcessKey]) -> None:
        """Read the mappings of what was sampled, as far as it is alive; forget what has long been quiet."""
        self._collects += 1
        for process in sampled:
            self._symbolizer.observe(process)
            self._last_sampled[process] = self._collects
        quiet = [process for process, last in self._last_sampled.items() if last < self._collects - _FORGET_AFTER]
        for process in quiet:
            self._symbolizer.forget(process)
            self._shipped.forget(process)
            del self._last_sampled[process]

    def _sample(self, row: Row, more: Labels = ()) -> "_Counted":
        user = self._symbolizer.user(row.process, self._book.find(row.user))
        kernel = self._kind.trim(self._symbolizer.kernel(self._book.find(row.kernel)))
        flaws = _flaws(user, kernel, self._symbolizer.missing_reason(row.process))
        if flaw := self._book.flaw(row.user):
            flaws |= {flaw}
        labels = self._kind.labels(row.tag) + more
        values = self._kind.values(row, self.key)
        return _Counted(StackSample(row.process, row.name, user, kernel, values, labels), row.events, flaws)


def _stackless(tally: Mapping[str, int]) -> dict[Loss, int]:
    """Events that were counted without their stack, or with a poorer one."""
    causes = {Loss.MAP_FULL: tally["stacks_full"], Loss.RING_FULL: tally["raw_full"]}
    return {cause: count for cause, count in causes.items() if count}


def _lost(tally: Mapping[str, int]) -> dict[Loss, int]:
    causes = {Loss.MAP_FULL: tally["counts_full"], Loss.MISSED_EVENT: tally["missed"]}
    return {cause: count for cause, count in causes.items() if count}


def _flaws(user: Sequence[Frame], kernel: Sequence[Frame], why_nameless: Loss) -> frozenset[Loss]:
    flaws = set()
    if any(frame.symbol is None for frame in user):
        flaws.add(why_nameless)
    if any(frame.symbol is None for frame in kernel):
        flaws.add(Loss.UNSYMBOLIZED)
    if user and not user[-1].module:
        flaws.add(Loss.BROKEN_STACK)  # an outermost address that lies in nothing: frame pointers led astray
    if len(user) >= FRAMES or len(kernel) >= FRAMES:
        flaws.add(Loss.TRUNCATED_STACK)
    return frozenset(flaws)


class StackProfiler:
    """A `rover_core.api.Profiler` over stack counters."""

    def __init__(self, kind: StackKind, symbolizer: Symbolizer | None = None) -> None:
        self.name = kind.profiler
        self.flush_interval_ns = None  # of `profiling.flush_interval`
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
            {"probe": engine.counter.attachment.probe.label, "host": platform.node(), **self._kind.attributes},
        )
        session.since_ns, session.samples, session.completeness = now, [], Completeness()
        return profile
