"""Which processes are watched for what, and what they did in the last seconds. No clock and no loop here."""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rover_continuous.readings import TICKS, StatReader, read_load
from rover_continuous.windows import Window
from rover_core.api import RequestSums, RequestWatch
from rover_core.model import Entity, Process, ProcessKey
from rover_core.policies import Monitor, Policy, Threshold, Uri

_SECOND = 1_000_000_000
Series = tuple[Monitor, Uri | None]


@dataclass(frozen=True, slots=True)
class Rule:
    """A threshold, and the profiler that it begins. entity: as which a service's policy is about the process."""

    profiler: str
    threshold: Threshold
    entity: Entity | None

    @property
    def series(self) -> Iterator[Series]:
        for uri in self.threshold.uris if self.threshold.monitor.of_requests else (None,):
            yield self.threshold.monitor, uri


@dataclass(frozen=True, slots=True)
class Look:
    """A rule and what it is about. over: values in its window that pass it, the oldest first; newest: None if the
    last second that has a value lies outside."""

    process: Process
    rule: Rule
    uri: Uri | None
    over: Sequence[float]
    newest: float | None

    @property
    def passed(self) -> bool:
        return len(self.over) >= self.rule.threshold.count


@dataclass(slots=True)
class Watched:
    """A process. last: when its CPU time was read, in ns, and what it was, in ticks."""

    process: Process
    rules: tuple[Rule, ...]
    windows: dict[Series, Window]
    last: tuple[int, int] | None = None


@dataclass(slots=True)
class Watchlist:
    """Used by one thread. Times are ns of one monotonic clock, the same as that of `RequestSums.second`.

    What goes on being watched keeps its values, whatever becomes of other policies and processes.
    """

    reader: StatReader = field(default_factory=StatReader)
    processors: int = field(default_factory=lambda: os.cpu_count() or 1)
    watched: dict[ProcessKey, Watched] = field(default_factory=dict)
    load: Window | None = None
    _policies: Sequence[Policy] = ()
    _processes: Sequence[Process] = ()
    _fetched: int = 0

    def update(self, policies: Sequence[Policy], processes: Collection[Process]) -> None:
        """These are the policies, and these the processes, that there are now."""
        processes = list(processes)
        if (policies, processes) == (
            self._policies,
            self._processes,
        ):  # nearly always: then they are the same objects
            return
        self._policies, self._processes = policies, processes
        before = self.watched
        self.watched = {
            process.key: _watched(process, rules, before.get(process.key))
            for process in processes
            if not process.kernel_thread and (rules := tuple(_rules(process, policies)))
        }
        self.reader.keep({key for key, each in self.watched.items() if _reads(each)})
        length_s = max((r.threshold.period_s for r in self._all_rules() if _is_load(r)), default=0)
        self.load = _window(length_s, self.load) if length_s else None

    def _all_rules(self) -> Iterator[Rule]:
        return (rule for each in self.watched.values() for rule in each.rules)

    @property
    def request_watches(self) -> list[RequestWatch]:
        """What a profiler of connections has to add up."""
        pids: dict[Uri, set[int]] = {}
        for each in self.watched.values():
            for monitor, uri in each.windows:
                if monitor.of_requests and uri is not None:
                    pids.setdefault(uri, set()).add(each.process.pid)
        return [RequestWatch(uri, frozenset(members)) for uri, members in pids.items()]

    def fetch(self, now_ns: int) -> None:
        """Read what the processes and the host do now."""
        second, since = now_ns // _SECOND, self._fetched or now_ns // _SECOND - 1
        for each in self.watched.values():
            if _reads(each):
                self._fetch(each, now_ns, since)
        if self.load is not None and (load := read_load()) is not None:
            self.load.put(since, second, load)
        self._fetched = second

    def _fetch(self, each: Watched, now_ns: int, since: int) -> None:
        reading = self.reader.read(each.process.key)
        if reading is None:  # gone: its values grow old
            return
        second = now_ns // _SECOND
        if threads := each.windows.get(_THREADS):
            threads.put(since if each.last else second - 1, second, reading.threads)
        cpu = each.windows.get(_CPU)
        if cpu and each.last and now_ns > each.last[0]:
            then_ns, ticks = each.last
            share = (reading.ticks - ticks) / TICKS * _SECOND / (now_ns - then_ns) / self.processors
            cpu.put(then_ns // _SECOND, second, 100 * max(0.0, share))
        each.last = now_ns, reading.ticks

    def add(self, sums: Iterable[RequestSums]) -> None:
        """Requests that a profiler has added up."""
        by_pid = {each.process.pid: each for each in self.watched.values()}
        for item in sums:
            windows = by_pid[item.pid].windows if item.pid in by_pid else {}
            if errors := windows.get((Monitor.HTTP_ERROR_RATE, item.uri)):
                errors.add(item.second, 100 * item.errors, item.requests)
            if times := windows.get((Monitor.HTTP_AVG_RESPONSE_TIME, item.uri)):
                times.add(item.second, item.duration_ns / 1e6, item.requests)

    def window(self, each: Watched, series: Series) -> Window | None:
        return self.load if series[0] is Monitor.SYSTEM_LOAD else each.windows.get(series)

    def looks(self, now_ns: int) -> Iterator[Look]:
        """Every rule, and every URI of it, held against the last seconds."""
        second = now_ns // _SECOND
        for each in self.watched.values():
            for rule in each.rules:
                for series in rule.series:
                    window = self.window(each, series)
                    values = window.values(second - rule.threshold.period_s, second) if window else []
                    over = [value for value in values if value >= rule.threshold.value]
                    yield Look(each.process, rule, series[1], over, values[-1] if values else None)


_CPU: Series = (Monitor.PROCESS_CPU, None)
_THREADS: Series = (Monitor.PROCESS_THREAD_COUNT, None)


def _rules(process: Process, policies: Iterable[Policy]) -> Iterator[Rule]:
    for policy in policies:
        entities: Iterable[Entity | None] = (each for each in process.entities if each.service == policy.service)
        if policy.selects is not None:
            entities = (None,) if policy.selects(process) else ()
        for entity in entities:
            for profiler, thresholds in policy.thresholds.items():
                yield from (Rule(profiler, threshold, entity) for threshold in thresholds)


def _watched(process: Process, rules: tuple[Rule, ...], known: Watched | None) -> Watched:
    lengths: dict[Series, int] = {}
    for rule in rules:
        for series in rule.series:
            if series[0] is not Monitor.SYSTEM_LOAD:
                lengths[series] = max(lengths.get(series, 0), rule.threshold.period_s)
    old = known.windows if known else {}
    windows = {series: _window(length_s, old.get(series)) for series, length_s in lengths.items()}
    return Watched(process, rules, windows, known.last if known else None)


def _window(length_s: int, known: Window | None) -> Window:
    if known is None:
        return Window(length_s)
    return known if known.length_s == length_s else known.resized(length_s)


def _reads(each: Watched) -> bool:
    return _CPU in each.windows or _THREADS in each.windows


def _is_load(rule: Rule) -> bool:
    return rule.threshold.monitor is Monitor.SYSTEM_LOAD
