"""Writes down what a network profiler sees: what the rings carried, and what the kernel counted in each interval."""

import platform
import socket
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, BinaryIO

from rover_core.api import WireProtocol
from rover_core.model import Process
from rover_network.counting import Counted, Counter
from rover_network.dropreasons import drop_reasons
from rover_network.records import RECORD
from rover_network.rowtext import told
from rover_network.tape import (
    HEADER,
    INTERVAL,
    LARGEST,
    PROCESSES,
    ROWS,
    Frame,
    Writer,
    encoded,
)

_PARTS = LARGEST // 2  # bytes of JSON from which on it goes into another frame
_JOIN_WITHIN_S = 5.0


class Recorder:
    """A thread that takes frames from a socket, whose other end the workers hold too, so that one order rules all.

    content: bytes of each message to capture at least. The file is the caller's, who closes it after `close`.
    """

    def __init__(self, out: BinaryIO, room: int, content: int = 0) -> None:
        self.content = content
        self._writer = Writer(out, room)
        self._theirs, self._ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST)
        self.fd = self._ours.fileno()
        self.left_out = 0
        """Frames for which there was no room."""
        self._last_processes = b""
        self._ending = False
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    @property
    def written(self) -> int:
        """Bytes of the file."""
        return self._writer.written

    @property
    def stopped(self) -> str:
        """Why nothing more is written, or ""."""
        return self._writer.stopped

    def _write(self) -> None:
        while (message := self._theirs.recv(LARGEST + 1)) or not self._ending:
            self.left_out += not self._writer.write(Frame(message[:1], message[1:]))

    def begin(self, protocols: Sequence[WireProtocol], counter: Counter, missing: Mapping[str, str]) -> None:
        """What one has to know to make sense of what follows."""
        header = {
            "record": RECORD.format,
            "protocols": [protocol.name for protocol in protocols],
            "policies": [_policy(protocol) for protocol in protocols],
            "content": self.content,
            "workers": len(counter.capture.feeds),
            "time_ns": time.time_ns(),
            "now_ns": time.monotonic_ns(),
            "host": platform.node(),
            "kernel": platform.release(),
            "probe": counter.probes.label,
            "not measured": dict(counter.probes.missing),
            "not recognised": dict(missing),
            "drop reasons": drop_reasons(),
        }
        self._send(HEADER, encoded(header))

    def interval(self, counted: Counted, times: Mapping[str, int], host: Mapping[str, Any], lost: int) -> None:
        """What the kernel has counted. lost: records that ended with their workers."""
        for part in _parted(told(counted.keys, counted.rows)):
            self._send(ROWS, b'{"rows":[' + b",".join(part) + b"]}")
        interval = {
            **times,
            "tally": dict(counted.tally),
            "lost": lost,
            "reasons": [[pid, reason, count] for (pid, reason), count in counted.reasons.items()],
            "uring": list(counted.uring),
            "evicted": counted.evicted,
            "host": host,
        }
        self._send(INTERVAL, encoded(interval))

    def processes(self, processes: Collection[Process]) -> None:
        """Who has entities, and which."""
        records = [
            [each.key.pid, each.key.start_ticks, [asdict(entity) for entity in each.entities]]
            for each in processes
            if each.entities
        ]
        now = encoded(records)
        if now != self._last_processes:
            self._last_processes = now
            for at, part in enumerate(_parted(iter(records))):
                first = b"true" if at == 0 else b"false"
                self._send(PROCESSES, b'{"first":' + first + b',"processes":[' + b",".join(part) + b"]}")

    def _send(self, kind: bytes, content: bytes) -> None:
        with suppress(OSError):
            self._ours.sendall(kind + content)

    def close(self) -> None:
        """Write the last frame. Workers must have ended."""
        if self._ours.fileno() < 0:
            return
        self._ending = True
        self._ours.shutdown(socket.SHUT_RDWR)
        self._thread.join(_JOIN_WITHIN_S)
        self._ours.close()
        self._theirs.close()
        self._writer.end({"stopped": self.stopped, "left out": self.left_out})


def _policy(protocol: WireProtocol) -> dict[str, Any]:
    capture = protocol.capture
    return {"mode": capture.mode.value, "client": capture.client, "server": capture.server}


def _parted(items: Iterator[Any]) -> Iterator[list[bytes]]:
    """As JSON, in portions of about one size; none for nothing."""
    part: list[bytes] = []
    size = 0
    for item in items:
        text = encoded(item)
        if part and size + len(text) > _PARTS:
            yield part
            part, size = [], 0
        part.append(text)
        size += len(text) + 1
    if part:
        yield part
