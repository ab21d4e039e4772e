"""The worker processes: started, asked, and replaced when they end. What they say is a stranger's."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from rover_core.api import WireProtocol
from rover_core.logs import get_logger
from rover_network.feeds import Feed
from rover_network.worker import LENGTH, NAMES, REPORT, TASKS, WATCHES

_START_WITHIN_S = 30.0
_ANSWER_WITHIN_S = 5.0
_LONGEST = 64 << 20  # bytes of a report
_LONGEST_REASON = 500
_RESTART_AFTER_S = 1.0
Names = Mapping[int, tuple[str, str]]
"""As fastpath.Names, without numpy."""
log = get_logger("network")
Report = dict[str, Any]


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


class _Worker:
    """One process and its end of the talk."""

    def __init__(
        self,
        number: int,
        feed: Feed,
        protocols: Sequence[dict[str, Any] | None],
        queue_size: int,
        sampling: Mapping[str, Any],
        recording: int | None,
        words: Iterable[bytes],
    ) -> None:
        self._channel, theirs = socket.socketpair()
        with theirs:
            order = {
                **feed.order(),
                "recording": None if recording is None else (recording, number),
                "channel": theirs.fileno(),
                "queue_size": queue_size,
                "protocols": protocols,
                "sampling": sampling,
            }
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "rover_network.worker", json.dumps(order)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # no secrets of ours
                cwd="/",
                pass_fds=[feed.fd, theirs.fileno(), *([] if recording is None else [recording])],
                process_group=0,  # Ctrl-C is for the agent
            )
        self.ready = False
        for each in words:
            self.tell(each)

    def answer(self, within_s: float) -> Report:
        """Its next message. Raises OSError, EOFError or ValueError where there is none, or it is none."""
        end = time.monotonic() + within_s
        (length,) = LENGTH.unpack(self._receive(LENGTH.size, end))
        if length > _LONGEST:
            raise ValueError("a worker's report is too long")
        try:
            message = json.loads(self._receive(length, end))
        except RecursionError as error:
            raise ValueError("a worker's report is too deep") from error
        if not isinstance(message, dict):
            raise ValueError("a worker's report is none")
        if "failed" in message:
            raise ValueError(repr(message["failed"])[:_LONGEST_REASON])
        return message

    def _receive(self, count: int, end: float) -> bytes:
        parts = []
        while count:
            self._channel.settimeout(max(0.01, end - time.monotonic()))
            part = self._channel.recv(min(count, 1 << 20))
            if not part:
                raise EOFError("a worker has ended")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def tell(self, words: bytes) -> None:
        self._channel.settimeout(_ANSWER_WITHIN_S)
        self._channel.sendall(words)

    def ask(self) -> None:
        self.tell(REPORT)

    def close(self) -> None:
        self._channel.close()
        self.process.kill()
        self.process.wait()


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
        self._order = partial(
            _Worker, protocols=protocols, queue_size=queue_size, sampling=sampling, recording=recording
        )
        self._words: dict[bytes, bytes] = {}
        self._names: Names = {}
        self._shipped = shipped
        self._told = [0] * len(feeds)
        self._not_before_s = [0.0] * len(feeds)
        self.restarts = self.lost = 0
        self._workers: list[_Worker | None] = []
        try:
            for number in range(len(feeds)):
                self._workers.append(self._make(number))
        except BaseException:
            self.close()
            raise

    @property
    def pids(self) -> list[int]:
        return [worker.process.pid for worker in self._workers if worker]

    def _make(self, number: int) -> _Worker:
        return self._order(number, self._feeds[number], words=[*self._words.values(), *_named(self._names)])

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

    def _answer(self, worker: _Worker) -> Report:
        if not worker.ready:
            worker.answer(_START_WITHIN_S)
            worker.ready = True
        return worker.answer(_ANSWER_WITHIN_S)

    def wait(self) -> None:
        """Until all are ready, so that what comes from now on is read."""
        for number, worker in enumerate(self._workers):
            if worker is not None and not worker.ready:
                worker.ready = self._try(number, partial(worker.answer, _START_WITHIN_S)) is not None

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
        worker.close()
        self._workers[number] = None
        self.restarts += 1
        log.warning("a worker ended and is replaced", reason=why, status=worker.process.returncode)

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
        with suppress(OSError):  # no memory, no processes: it is tried again
            self._workers[number] = self._make(number)

    def take_losses(self) -> tuple[int, int]:
        """restarts and lost, which begin anew."""
        taken, self.restarts, self.lost = (self.restarts, self.lost), 0, 0
        return taken

    def close(self) -> None:
        for worker in filter(None, self._workers):
            worker.close()
        self._workers = []
