"""Which exchanges are sampled, in the process that reads them: nothing leaves it with its secrets.

sampler.assign(task.id, rules, processes)       a task begins, or has other rules or processes; `remove` ends it
sampler.offer(exchange, source)                 each exchange
sampler.take()                                  each interval
"""

import heapq
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from rover_core.model import SampledExchange, SampledMessage, SamplingRule, Syscall, TraceContext
from rover_core.patterns import compile_pattern
from rover_core.wire import Exchange, Message, Redaction, Rendering
from rover_core.wire.rendering import load_encodings
from rover_core.wire.sampled import Sampleable
from rover_network.details import Call
from rover_network.rulebook import Attach, RuleBook, asking, attachments, content_size, reason_of

TOP = 10
"""Of an interval, for each flow and reason: the slowest with a trace context, and as many of those without."""

_MOST = 4096  # exchanges kept of an interval
_ROOM = 32 << 20  # bytes of their messages
_TEXT = 8 << 20  # bytes of text told of an interval
_PROCESSES = 65_536
_CALL = 256  # bytes of a system call, about

Flow = TypeVar("Flow", bound=Hashable)


def prepare() -> None:
    """Load what `Sampler` would otherwise load when it is needed (7 MB): in a worker that will not be able to."""
    compile_pattern("")
    load_encodings()


class Source(NamedTuple, Generic[Flow]):
    """Whose exchanges they are; one for each connection. flow: with whom, as what: those of equal ones compete."""

    pid: int
    flow: Flow
    protocol: Sampleable
    ssl: bool = False


class Taken(NamedTuple, Generic[Flow]):
    """An exchange that was sampled for a task."""

    task_id: str
    flow: Flow
    exchange: SampledExchange


class _Candidate(NamedTuple):
    exchange: Exchange
    protocol: Sampleable
    ssl: bool
    reason: str
    attach: Attach
    trace: TraceContext | None
    calls: tuple[Sequence[Call], Sequence[Call]] = ((), ())  # of the request, and of the response

    @property
    def size(self) -> int:
        messages = (self.exchange.request, self.exchange.response)
        texts = sum(len(message.content) + min(message.size, 1 << 16) for message in messages if message)
        return texts + _CALL * sum(map(len, self.calls))


_Heaps = dict[tuple[Flow, str, bool], list[tuple[int, int, _Candidate]]]


class _Task(Generic[Flow]):
    """A task's rules, and the candidates of the interval as heaps, the quickest of each first."""

    def __init__(self, rules: Sequence[SamplingRule], pids: Collection[int] | None) -> None:
        self.book = RuleBook(rules)
        self.pids = None if pids is None else frozenset(pids)
        self.heaps: _Heaps[Flow] = {}


def no_calls(flow: Any, from_server: int, message: Message[Any]) -> Sequence[Call]:
    """Where nobody knows the system calls that moved a message of a flow, the server's or the client's."""
    return ()


class Sampler(Generic[Flow]):
    """Keeps the slowest of what the tasks' rules ask for. Costs a look-up for an exchange that no task is about.

    sampling: there is a task to `offer` exchanges for.
    encodings: of requests' and of responses' bodies that do not say theirs. offset_ns: what the exchanges' clock is
    behind the wall clock; CLOCK_MONOTONIC's, unless said otherwise. calls_of: see `no_calls`; asked when an exchange
    is over. left_out: exchanges, or their text, for which an interval had no room. unrendered: messages that their
    protocol stumbled over.
    """

    def __init__(
        self,
        redaction: Redaction | None = None,
        encodings: tuple[str, str] = ("utf-8", "utf-8"),
        offset_ns: int | None = None,
        calls_of: Callable[[Flow, int, Message[Any]], Sequence[Call]] = no_calls,
    ) -> None:
        self._calls_of = calls_of
        self._redaction = redaction or Redaction()
        self._encodings = encodings
        self._offset_ns = time.time_ns() - time.monotonic_ns() if offset_ns is None else offset_ns
        self._tasks: dict[str, _Task[Flow]] = {}
        self._watching: dict[int, Sequence[_Task[Flow]]] = {}
        self._number = 0
        self._kept = 0
        self._size = 0
        self.left_out = self.unrendered = 0
        self.sampling = False

    @property
    def content(self) -> int:
        """Bytes of each message that the rules want kept: `Limits.content`."""
        return max((content_size(task.book.rules) for task in self._tasks.values()), default=0)

    def assign(self, task_id: str, rules: Sequence[SamplingRule], pids: Collection[int] | None = None) -> None:
        """Begin with a task, or replace all that was said of it. pids: None for every process of the host.

        Raises UsageError for a rule whose expression is none.
        """
        task: _Task[Flow] = _Task(rules, pids)
        known = self._tasks.get(task_id)
        if known:
            task.heaps = known.heaps
        self._tasks[task_id] = task
        self.sampling = True
        self._watching.clear()

    def remove(self, task_id: str) -> None:
        """End a task. What it has not been given yet is lost: `take` first."""
        task = self._tasks.pop(task_id, None)
        self.sampling = bool(self._tasks)
        for heap in task.heaps.values() if task else ():
            self._kept -= len(heap)
            self._size -= sum(candidate.size for _, _, candidate in heap)
        self._watching.clear()

    def keep(self, task_ids: Iterable[str]) -> None:
        """End all tasks but these."""
        for task_id in self._tasks.keys() - set(task_ids):
            self.remove(task_id)

    def take_losses(self) -> dict[str, int]:
        """left_out and unrendered by what people call them, which begin anew."""
        losses = {"samples left out": self.left_out, "messages not rendered": self.unrendered}
        self.left_out = self.unrendered = 0
        return {name: count for name, count in losses.items() if count}

    def offer(self, exchange: Exchange, source: Source[Flow]) -> None:
        """An exchange is over."""
        tasks = self._watching.get(source.pid)
        if tasks is None:
            tasks = self._watch(source.pid)
        for task in tasks:
            self._consider(task, exchange, source)

    def take(self) -> list[Taken[Flow]]:
        """What was sampled since the last time, the slowest first."""
        if not self._kept:
            return []
        found = [
            (duration_ns, number, task_id, flow, candidate)
            for task_id, task in self._tasks.items()
            for (flow, _, _), heap in task.heaps.items()
            for duration_ns, number, candidate in heap
        ]
        for task in self._tasks.values():
            task.heaps = {}
        self._kept = self._size = 0
        found.sort(key=lambda each: each[:2], reverse=True)
        return self._told(found)

    def _watch(self, pid: int) -> Sequence[_Task[Flow]]:
        if len(self._watching) >= _PROCESSES:
            self._watching.clear()
        tasks = [task for task in self._tasks.values() if task.pids is None or pid in task.pids]
        self._watching[pid] = tasks
        return tasks

    def _consider(self, task: _Task[Flow], exchange: Exchange, source: Source[Flow]) -> None:
        duration_ns, protocol = exchange.duration_ns, source.protocol
        status = protocol.reason(exchange)
        if (duration_ns < task.book.slow_from_ns and not status and not exchange.error) or not exchange.paired:
            return
        rules = task.book.applying(protocol.subject(exchange))
        reason = reason_of(rules, status, exchange.error, duration_ns)
        if reason:
            attach = attachments(asking(rules, reason, exchange.error, duration_ns))
            candidate = _Candidate(exchange, protocol, source.ssl, reason, attach, protocol.trace(exchange))
            self._keep(task.heaps, (source.flow, reason, candidate.trace is not None), candidate)

    def _keep(self, heaps: _Heaps[Flow], group: tuple[Flow, str, bool], candidate: _Candidate) -> None:
        heap = heaps.get(group, [])
        duration_ns = candidate.exchange.duration_ns
        full = len(heap) >= TOP
        if full and duration_ns <= heap[0][0]:
            return
        candidate = candidate._replace(calls=self._calls(group[0], candidate))
        size = candidate.size - (heap[0][2].size if full else 0)
        if self._kept - full >= _MOST or self._size + size > _ROOM:
            self.left_out += 1
            return
        self._number -= 1  # of equal ones the first stays
        self._kept += not full
        self._size += size
        (heapq.heapreplace if full else heapq.heappush)(heap, (duration_ns, self._number, candidate))
        heaps[group] = heap

    def _calls(self, flow: Flow, candidate: _Candidate) -> tuple[Sequence[Call], Sequence[Call]]:
        request, response = candidate.exchange.request, candidate.exchange.response
        return (
            self._calls_of(flow, 0, request) if request and candidate.attach.request else (),
            self._calls_of(flow, 1, response) if response and candidate.attach.response else (),
        )

    def _told(self, found: Sequence[tuple[int, int, str, Flow, _Candidate]]) -> list[Taken[Flow]]:
        told, room = [], _TEXT
        for _, _, task_id, flow, candidate in found:
            attach = candidate.attach if room > 0 else Attach(0, 0)
            self.left_out += attach != candidate.attach
            sampled = self._sampled(candidate, attach)
            room -= sum(len(each.text) for each in (sampled.request, sampled.response) if each)
            told.append(Taken(task_id, flow, sampled))
        return told

    def _sampled(self, candidate: _Candidate, attach: Attach) -> SampledExchange:
        exchange, protocol = candidate.exchange, candidate.protocol
        return SampledExchange(
            protocol.label,
            candidate.reason,
            exchange.operation_class,
            self._redaction.query(protocol.subject(exchange)),
            exchange.status,
            exchange.start_ns + self._offset_ns,
            exchange.duration_ns,
            candidate.ssl,
            candidate.trace,
            self._message(protocol, exchange.request, self._encodings[0], attach.request, candidate.calls[0]),
            self._message(protocol, exchange.response, self._encodings[1], attach.response, candidate.calls[1]),
        )

    def _message(
        self, protocol: Sampleable, message: Message[Any] | None, encoding: str, most: int, calls: Sequence[Call]
    ) -> SampledMessage | None:
        if message is None or not most or protocol.render is None:
            return None
        try:
            text = protocol.render(message, Rendering(self._redaction, encoding, most))
        except Exception:  # noqa: BLE001  # a protocol's; what it says might be the message's
            self.unrendered += 1
            text = ""
        start_ns, end_ns = message.start_ns + self._offset_ns, message.end_ns + self._offset_ns
        return SampledMessage(start_ns, end_ns, message.size, text, self._syscalls(calls))

    def _syscalls(self, calls: Sequence[Call]) -> tuple[Syscall, ...]:
        return tuple(call.syscall(self._offset_ns) for call in calls)
