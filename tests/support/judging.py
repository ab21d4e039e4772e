"""The fast path without a kernel: its C compiled for this machine, and the parser that gets what it ships."""

import ctypes
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import rover_network
from rover_core.api import FAST_BYTES, WireProtocol
from rover_core.wire import Direction
from rover_network.intervals import DURATION_BOUNDS, SIZE_BOUNDS, Interval, spread, spread_value
from rover_network.records import ANSWERED, ASKED, END, NOTE, RECORD, SAID
from rover_network.sampling import Sampler
from rover_network.streams import Spoken, Streams

HEADERS = Path(rover_network.__file__).parent
_HARNESS = """
#include "rover/fast.h"
#include "{judge}"

int follow(struct rover_fast *fast, struct rover_moved *moved) {{ return rover_follow(fast, moved); }}
unsigned int end(struct rover_fast *fast) {{ return rover_fast_end(fast); }}
int judge(struct rover_fast *fast, unsigned int side, const unsigned char *data, unsigned int size,
    struct rover_judged *judged)
{{
    return side ? {name}_response(data, size, fast->kind, judged) : {name}_request(data, size, 7, judged);
}}
int go_on(struct rover_fast *fast, struct rover_moved *moved, int judgement, struct rover_judged *judged, int known)
{{
    return moved->side ? rover_judge_response(fast, moved, judgement, judged)
        : rover_judge_request(fast, moved, judgement, judged, known);
}}
"""
_SHIP, _COUNT, _JUDGE = 1, 2, 4
_TEACH = 8
_u64, _u32, _u8 = ctypes.c_uint64, ctypes.c_uint32, ctypes.c_uint8


class Fast(ctypes.Structure):
    """struct rover_fast"""

    _fields_ = (
        *((name, _u64 * 2) for name in ("next", "owed", "size")),
        *((name, _u64) for name in ("began_ns", "ended_ns", "operation")),
        ("status", _u32),
        *((name, _u8) for name in ("kind", "phase", "shipped", "handed", "apart", "overlaps", "turn", "generation")),
        ("unused", _u32),
    )


class Moved(ctypes.Structure):
    """struct rover_moved"""

    _fields_ = (
        *((name, _u64) for name in ("position", "other", "length", "began_ns", "ended_ns")),
        *((name, _u32) for name in ("side", "on")),
        ("skip", _u64),
        ("resume", _u64 * 2),
        ("note", _u32),
    )


class Judged(ctypes.Structure):
    """struct rover_judged"""

    _fields_ = (("length", _u64), ("operation", _u64), ("kind", _u32), ("status", _u32))


class Call(NamedTuple):
    """Bytes that a call moved; unseen: how many follow `data`, or are all there is, that no program could read."""

    direction: int
    data: bytes
    timestamp_ns: int
    unseen: int = 0


def compiled_judge(protocol: WireProtocol, folder: Path) -> ctypes.CDLL:
    assert protocol.fast is not None
    source = folder / f"{protocol.name}_fast.c"
    source.write_text(_HARNESS.format(judge=protocol.fast.judge, name=protocol.name))
    library = source.with_suffix(".so")
    command = ["cc", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{HEADERS}", "-shared", "-fPIC", "-o", library, source]
    subprocess.run(command, check=True, timeout=60)
    return ctypes.CDLL(str(library))


Sums = dict[tuple[str, str, str], list[Any]]
"""(class, operation, status) -> what `Interval` tells of it."""


class Chain:
    """What the kernel does with the calls of connections, and a worker with what is shipped. on: whether there is a
    fast path at all.
    """

    def __init__(self, protocol: WireProtocol, judge: ctypes.CDLL, on: bool = True) -> None:
        assert protocol.fast is not None
        self._protocol, self._judge, self.on = protocol, judge, on
        fast = protocol.fast
        spoken = Spoken(protocol.connect, None, {}, request=fast.request, response=fast.response)
        self.streams = Streams([None, spoken], Interval(100_000), Sampler())
        self._names: dict[int, list[str]] = {}
        self._known: set[int] = set()
        self._unnamed: dict[tuple[int, str], list[Any]] = {}
        self._rows: Sums = {}
        self._fasts: dict[int, Fast] = {}
        self._positions: dict[int, list[int]] = defaultdict(lambda: [0, 0])
        self.counted = 0
        self.losses: Counter[str] = Counter()

    def move(self, inode: int, call: Call) -> None:
        """A call of a connection."""
        places = self._positions[inode]
        length = len(call.data) + call.unseen
        moved = Moved(
            places[call.direction], places[1 - call.direction], length, call.timestamp_ns, call.timestamp_ns
        )
        moved.side, moved.on = call.direction, 1
        places[call.direction] += length
        if not length:
            return
        verdict = self._verdict(inode, moved, call.data) if self.on else _SHIP
        if moved.note:
            self._note(inode, moved.note, list(moved.resume), self._fasts[inode])
        if verdict & _SHIP:
            self._ship(inode, call, moved)

    def _verdict(self, inode: int, moved: Moved, data: bytes) -> int:
        fast = self._fasts.get(inode)
        if fast is None:
            fast = self._fasts[inode] = Fast(phase=0 if moved.position or moved.other else 1, turn=1 - moved.side)
            fast.next[moved.side], fast.next[1 - moved.side] = moved.position, moved.other
        shipped = fast.shipped
        verdict = self._judge.follow(ctypes.byref(fast), ctypes.byref(moved))
        if verdict & _JUDGE:
            judged, head = Judged(), data[:FAST_BYTES]
            padded = head.ljust(FAST_BYTES * 2, b"\xee")
            said = self._judge.judge(ctypes.byref(fast), moved.side, padded, len(head), ctypes.byref(judged))
            known = int(judged.operation in self._known)
            verdict |= self._judge.go_on(ctypes.byref(fast), ctypes.byref(moved), said, ctypes.byref(judged), known)
        if verdict & _COUNT:
            self._count(fast)
        if shipped and fast.phase == 1:
            self._known.add(fast.operation)
        return int(verdict)

    def _count(self, fast: Fast) -> None:
        self.counted += 1
        row = self._unnamed.setdefault(
            (fast.operation, str(fast.status)), [0, 0, 0, spread(), spread(), spread(), {}]
        )
        assert self._protocol.fast is not None
        for at, more in enumerate((1, 1, int(self._protocol.fast.failed(fast.status)))):
            row[at] += more
        spread_value(row[3], max(0, fast.ended_ns - fast.began_ns), DURATION_BOUNDS)
        for way in (0, 1):
            spread_value(row[4 + way], fast.size[way], SIZE_BOUNDS)

    def _ship(self, inode: int, call: Call, moved: Moved) -> None:
        capture = self._protocol.capture
        data = call.data[moved.skip :]
        seen = data[: capture.server if call.direction else capture.client]
        after = moved.length - moved.skip - len(seen)
        head = (
            inode,
            1,
            0,
            moved.position + moved.skip,
            moved.other,
            moved.began_ns,
            moved.ended_ns,
            after,
            len(seen),
        )
        self.streams.feed(RECORD.pack(*head, 1, call.direction, call.direction, 0) + seen)

    def _note(self, inode: int, note: int, resume: list[int], fast: Fast) -> None:
        head = RECORD.pack(inode, 1, 0, *resume, fast.began_ns, fast.ended_ns, 0, SAID.size, 1, 0, 0, NOTE)
        body = SAID.pack(fast.operation, *fast.size, fast.status, note)
        self.streams.feed(head + body)

    def end(self, inode: int) -> None:
        """A connection is over."""
        fast = self._fasts.pop(inode, None)
        note = self._judge.end(ctypes.byref(fast)) if fast else 0
        if fast and note:
            self._note(inode, note, [fast.next[side] + fast.owed[side] for side in (0, 1)], fast)
        self.streams.feed(RECORD.pack(inode, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, END))
        self._positions.pop(inode, None)

    def learn(self) -> None:
        """What the agent does five times a second."""
        report = self.streams.report()
        for operation, *names in report["learned"]:
            self._names[operation] = names
        for (operation, status), row in self._unnamed.items():
            _add(self._rows, (*self._names[operation], status), row)
        self._unnamed = {}
        self.streams.know([[operation, *names] for operation, names in self._names.items()])  # type: ignore[misc]
        for row in report["rows"]:
            _add(self._rows, tuple(row[5:8]), row[8:])
        for _, cause, count in report["losses"]:
            self.losses[cause] += count

    def told(self) -> Sums:
        self.learn()
        return self._rows


def _add(rows: Sums, key: Any, more: list[Any]) -> None:
    row = rows.setdefault(key, [0, 0, 0, spread(), spread(), spread(), {}])
    for at in (0, 1, 2):
        row[at] += more[at]
    for at in (3, 4, 5):
        row[at][0] += more[at][0]
        row[at][1] += more[at][1]
        for bucket, count in more[at][2].items():
            row[at][2][bucket] = row[at][2].get(bucket, 0) + count


def both(protocol: WireProtocol, judge: ctypes.CDLL, connections: Iterable[Iterable[Call]]) -> tuple[Chain, Chain]:
    """With and without the fast path, over the same connections."""
    chains = Chain(protocol, judge), Chain(protocol, judge, on=False)
    for inode, calls in enumerate(connections, 1):
        for call in calls:
            for chain in chains:
                chain.move(inode, call)
        for chain in chains:
            chain.end(inode)
            chain.learn()
    return chains


__all__ = ["ANSWERED", "ASKED", "Call", "Chain", "Direction", "both", "compiled_judge"]
