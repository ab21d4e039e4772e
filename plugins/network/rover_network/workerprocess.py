"""One worker, and the process that forks them (nursery.py): the agent's ends. What a worker says is a stranger's."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from rover_network.feeds import Feed
from rover_network.worker import LENGTH, REPORT

START_WITHIN_S = 30.0
ANSWER_WITHIN_S = 5.0
_LONGEST = 64 << 20  # bytes of a report
_LONGEST_REASON = 500
Report = dict[str, Any]


class Nursery:
    """Raises OSError or EOFError where it has ended, or does not answer; then all its workers end."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        """plan: what all workers are told."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(START_WITHIN_S)
        with theirs:
            words = json.dumps({**plan, "control": theirs.fileno()})
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "rover_network.nursery", words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # no secrets of ours
                cwd="/",
                pass_fds=[theirs.fileno()],
                process_group=0,  # Ctrl-C is for the agent
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def begin(self, order: Mapping[str, Any], descriptors: Sequence[int]) -> int:
        """The pid of a new worker. descriptors: its end of the talk, what it reads, what takes a copy."""
        return self._ask(order, descriptors)

    def end(self, pid: int) -> int:
        """Its exit code, negative for a signal."""
        return self._ask({"end": pid}, ())

    def _ask(self, message: Mapping[str, Any], descriptors: Sequence[int]) -> int:
        socket.send_fds(self._control, [json.dumps(message).encode()], descriptors)
        answer = self._control.recv(32)
        if not answer:
            raise EOFError("the process that workers come from has ended")
        return int(answer)

    def close(self) -> None:
        self._control.close()
        self._process.kill()
        self._process.wait()


class Worker:
    """One process and its end of the talk. words: what it is told first."""

    def __init__(
        self, number: int, feed: Feed, nursery: Nursery, recording: int | None, words: Iterable[bytes]
    ) -> None:
        self._nursery = nursery
        self._channel, theirs = socket.socketpair()
        with theirs:
            descriptors = [theirs.fileno(), feed.fd, *([] if recording is None else [recording])]
            try:
                self.pid = nursery.begin({**feed.order(), "number": number}, descriptors)
            except BaseException:
                self._channel.close()
                raise
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
        self._channel.settimeout(ANSWER_WITHIN_S)
        self._channel.sendall(words)

    def ask(self) -> None:
        self.tell(REPORT)

    def close(self) -> int | None:
        """Its exit code, None if that cannot be told."""
        self._channel.close()
        with suppress(OSError, EOFError, ValueError):
            return self._nursery.end(self.pid)
        return None
