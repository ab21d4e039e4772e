"""Where records come from: a ring that the kernel fills, or a recording. The agent's end and the worker's."""

import os
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Protocol

from rover_bpf.program import MapInfo
from rover_bpf.ring import Ring
from rover_network.records import RECORD, Batch, Bytes
from rover_network.tape import BLOCK, GATHERED, LARGEST, RECORDS

_length_of = struct.Struct("<56xI").unpack_from  # of a record
_BATCH = 64 << 10  # bytes of records that are sent on together
_HEAD = RECORD.size
_SENT_WITHIN_S = 5.0


class Feed(Protocol):
    """The agent's end."""

    def order(self) -> dict[str, Any]:
        """What the worker is to know of it, beside the descriptor."""
        ...

    @property
    def fd(self) -> int: ...

    def skip(self) -> None:
        """Leave out everything there is now."""
        ...


class RingFeed:
    """A ring of a loaded program's."""

    def __init__(self, ring: MapInfo) -> None:
        self._ring = ring
        self.fd = ring.fd

    def order(self) -> dict[str, Any]:
        return {"ring_bytes": self._ring.max_entries}

    def skip(self) -> None:
        ring = Ring(self._ring)
        ring.skip()
        ring.close()


class TapeFeed:
    """Blocks of records, sent by hand. lost: records that no worker took."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST)
        self._ours.settimeout(_SENT_WITHIN_S)
        self._stuck = False
        self.fd = self._theirs.fileno()

    def order(self) -> dict[str, Any]:
        return {"ring_bytes": 0}

    def send(self, block: bytes) -> bool:
        """As in a RECORDS frame. False if nobody takes it."""
        if self._stuck:
            return False
        try:
            self._ours.sendall(block)
        except OSError:  # its reader hangs or has ended: until there is another, nobody waits for it again
            self._stuck = True
        return not self._stuck

    def skip(self) -> None:
        self._stuck = False
        with suppress(BlockingIOError):
            while self._theirs.recv(1, socket.MSG_DONTWAIT):
                pass

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()


class Source(Protocol):
    """The worker's end."""

    fd: int

    given_up: Callable[[], None] | None
    """To be called when the recorded worker told the agent what it had; None for a source that does not know."""

    def drain(self) -> Iterator[Batch]:
        """Every record that is there now. What is in memory is valid until the next one is asked for."""
        ...

    def now_ns(self) -> int:
        """By the records' clock."""
        ...


def open_source(order: dict[str, Any]) -> Source:
    fd, size = order["source"], order["ring_bytes"]
    return _RingSource(fd, size) if size else _TapeSource(fd)


class _RingSource:
    given_up: Callable[[], None] | None = None

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self._ring = Ring(MapInfo(fd, 0, 0, 0, size))

    def drain(self) -> Iterator[Batch]:
        yield self._ring.memory, self._ring.places()

    def now_ns(self) -> int:
        return time.monotonic_ns()


class _TapeSource:
    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._socket = socket.socket(fileno=fd)
        self._now_ns = 0
        self.given_up: Callable[[], None] | None = lambda: None

    def now_ns(self) -> int:
        return self._now_ns

    def drain(self) -> Iterator[Batch]:
        with suppress(BlockingIOError):
            while block := self._socket.recv(LARGEST, socket.MSG_DONTWAIT):
                if len(block) < BLOCK.size:
                    continue
                self._now_ns, _ = BLOCK.unpack_from(block)
                if len(block) > BLOCK.size:
                    yield block, places(block)
                elif self.given_up:
                    self.given_up()


def split(block: bytes) -> Iterator[memoryview]:
    """The records of a RECORDS frame's content, up to one that is not whole."""
    view = memoryview(block)
    return (view[begin:end] for begin, end in places(block))


def places(block: bytes) -> Iterator[tuple[int, int]]:
    """Where they begin and end."""
    at = BLOCK.size
    while at + _HEAD <= len(block):
        (length,) = _length_of(block, at)
        end = at + _HEAD + length
        if end > len(block):
            return
        yield at, end
        at = end


class Tee:
    """Sends on what passes, in blocks: messages of a socket, so half of one is never there. number: the worker's."""

    def __init__(self, fd: int, number: int) -> None:
        self._fd, self._number = fd, number
        self._parts: list[bytes] = []
        self._size = 0

    def through(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for memory, found in batches:
            yield memory, self._copied(memory, found)
        if self._parts:
            self._send()

    def _copied(self, memory: Bytes, found: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        for place in found:
            at = place[0]
            part = memory[at : at + _HEAD + _length_of(memory, at)[0]]
            self._parts.append(part)
            self._size += len(part)
            if self._size > _BATCH:
                self._send()
            yield place

    def mark(self) -> None:
        """The agent asks for what there is."""
        self._put(GATHERED)

    def _send(self) -> None:
        parts, self._parts, self._size = self._parts, [], 0
        self._put(RECORDS, *parts)

    def _put(self, kind: bytes, *parts: bytes) -> None:
        with suppress(OSError):  # the agent is ending
            os.write(self._fd, b"".join((kind, BLOCK.pack(time.monotonic_ns(), self._number), *parts)))
