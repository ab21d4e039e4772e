"""The worker processes: started, asked, and replaced when they end. What they say is a stranger's."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from rover_core.api import WireProtocol
from rover_core.logs import get_logger
from rover_network.feeds import Feed
from rover_network.worker import LENGTH, NAMES, TASKS, WATCHES
from rover_network.workerprocess import ANSWER_WITHIN_S, START_WITHIN_S, Nursery, Report, Worker

_RESTART_AFTER_S = 1.0
Names = Mapping[int, tuple[str, str]]
"""As fastpath.Names, without numpy."""
log = get_logger("network")


def describe(protocol: WireProtocol) -> dict[str, Any]:
    """What a worker is told of a protocol. ValueError if it could not find its functions."""
    metrics = {metric.name: _place(metric.value) for metric in protocol.metrics}
    return {
        "connect": _place(protocol.connect),
        "datagrams": _place(protocol.datagrams) if protocol.datagrams else None,
        "metrics": metrics,
        "label": protocol.label,
        "trace": _place(protocol.trace),
        "subject": _place(protocol.subject),
        "reason": _place(protocol.reason),
        "render": _place(protocol.render) if protocol.render else None,
        "fast": [_place(protocol.fast.request), _place(protocol.fast.response)] if protocol.fast else None,
        "continues": list(protocol.continues),
    }


def _place(function: Callable[..., Any]) -> str:
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    if not module or not name or "<" in name:
        raise ValueError(f"{function!r} is no function of a module, so a worker cannot find it")
    return f"{module}:{name}"


def _named(names: Names) -> Iterable[bytes]:
    if names:
        body = json.dumps([[operation, *name] for operation, name in names.items()]).encode()
        yield NAMES + LENGTH.pack(len(body)) + body


class Workers:
    """One for each feed. Used by one thread.

    shipped: records put into each so far; what a worker that ended had taken since its last report is lost.
    recording: descriptor of a socket that takes a copy of all records.
    restarts, lost: how many ended, and the records that went with them, since the last `report`.
    """

    def __init__(
        self,
        feeds: Sequence[Feed],
        protocols: Sequence[dict[str, Any] | None],
        queue_size: int,
        shipped: Callable[[], Sequence[int]],
        sampling: Mapping[str, Any],
        recording: int | None = None,
    ) -> None:
        self._feeds = feeds
        self._plan = {"protocols": protocols, "queue_size": queue_size, "sampling": sampling}
        self._nursery: Nursery | None = None
        self._recording = recording
        self._words: dict[bytes, bytes] = {}
        self._names: Names = {}
        self._shipped = shipped
        self._told = [0] * len(feeds)
        self._not_before_s = [0.0] * len(feeds)
        self.restarts = self.lost = 0
        self._workers: list[Worker | None] = [None] * len(feeds)
        try:
            for number in range(len(feeds)):
                self._restart(number)
        except BaseException:
            self.close()
            raise

    @property
    def pids(self) -> list[int]:
        return [worker.pid for worker in self._workers if worker]

    @property
    def nursery(self) -> int | None:
        """The pid of the process that they come from."""
        return self._nursery.pid if self._nursery else None

    def _make(self, number: int) -> Worker:
        self._nursery = self._nursery or Nursery(self._plan)
        words = [*self._words.values(), *_named(self._names)]
        try:
            return Worker(number, self._feeds[number], self._nursery, self._recording, words)
        except (OSError, EOFError):
            self._nursery.close()
            self._nursery = None
            raise

    def know(self, fresh: Names, names: Names) -> None:
        """What operations are called that notes of the fast path may be about: those that are new, and all."""
        self._names = names
        for words in _named(fresh):
            self._tell(words)

    def assign(self, tasks: Sequence[Sequence[Any]]) -> None:
        """What is to be sampled: [task's id, rules (`samplewords`), pids or None] of each task that has rules."""
        self._keep_telling(TASKS, tasks)

    def watch(self, watches: Sequence[Sequence[Any]], alone: bool) -> None:
        """What is to be added up second by second (`watching`). alone: nothing else is wanted."""
        self._keep_telling(WATCHES, [watches, alone])

    def _keep_telling(self, word: bytes, message: Any) -> None:
        """Them all, and those that take their places."""
        body = json.dumps(message).encode()
        self._words[word] = word + LENGTH.pack(len(body)) + body
        self._tell(self._words[word])

    def _tell(self, words: bytes) -> None:
        for number, worker in enumerate(self._workers):
            if worker is not None:
                self._try(number, partial(worker.tell, words))

    def report(self) -> list[tuple[int, Report]]:
        """What each has found since the last time, with its number. Waits until they have read what was shipped."""
        shipped = self._shipped()
        for number in range(len(self._workers)):
            self._restart(number)
            if worker := self._workers[number]:
                self._try(number, worker.ask)
        reports = []
        for number, worker in enumerate(self._workers):
            if worker is not None and (report := self._try(number, partial(self._answer, worker))) is not None:
                self._told[number] = shipped[number]
                reports.append((number, report))
        return reports

    def _answer(self, worker: Worker) -> Report:
        if not worker.ready:
            worker.answer(START_WITHIN_S)
            worker.ready = True
        return worker.answer(ANSWER_WITHIN_S)

    def wait(self) -> None:
        """Until all are ready, so that what comes from now on is read."""
        for number, worker in enumerate(self._workers):
            if worker is not None and not worker.ready:
                worker.ready = self._try(number, partial(worker.answer, START_WITHIN_S)) is not None

    def _try(self, number: int, what: Callable[[], Any]) -> Any:
        """None if the worker has ended, or says what no worker says."""
        try:
            return what()
        except (OSError, EOFError, ValueError) as error:
            self.end(number, str(error) or type(error).__name__)
            return None

    def end(self, number: int, why: str) -> None:
        """It will be replaced. What its ring holds is left out: it may be what ended it."""
        worker = self._workers[number]
        if worker is None:
            return
        self._workers[number] = None
        self.restarts += 1
        log.warning("a worker ended and is replaced", reason=why, status=worker.close())

    def _restart(self, number: int) -> None:
        """Put another in the place of one that has ended, though not at once again if that ends too."""
        now_s = time.monotonic()
        if self._workers[number] or now_s < self._not_before_s[number]:
            return
        self._not_before_s[number] = now_s + _RESTART_AFTER_S
        self._feeds[number].skip()
        shipped = self._shipped()[number]
        self.lost += shipped - self._told[number]
        self._told[number] = shipped
        try:
            self._workers[number] = self._make(number)
        except (OSError, EOFError) as error:  # no memory, no processes: it is tried again
            log.warning("a worker could not be started", reason=str(error))

    def take_losses(self) -> tuple[int, int]:
        """restarts and lost, which begin anew."""
        taken, self.restarts, self.lost = (self.restarts, self.lost), 0, 0
        return taken

    def close(self) -> None:
        for worker in filter(None, self._workers):
            worker.close()
        self._workers = []
        if self._nursery:
            self._nursery.close()
            self._nursery = None
