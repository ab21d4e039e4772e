"""The agent's half of the fast path: operations' names, whom it leaves alone, and what was counted in the kernel.

Layouts are those of rover/fastmaps.h; a test compares them.
"""

import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rover_bpf.epochs import warm
from rover_bpf.maps import Array, BpfMap
from rover_bpf.program import Program
from rover_core.api import WireProtocol
from rover_network.intervals import DURATION_BOUNDS, OTHER, SIZE_BOUNDS
from rover_network.rows import KEY

DURATIONS, SIZES = 64, 32
"""Buckets that there is room for."""
MOST_OPERATIONS = 3072  # of the 4096 that the kernel has room for
FAST_CONFIG = np.dtype(
    [
        ("durations", "<u8", (DURATIONS,)),
        ("sizes", "<u8", (SIZES,)),
        ("seed", "<u8"),
        ("epoch", "<u4"),
        ("off", "<u4"),
        ("off_some", "<u4"),
        ("unused", "<u4"),
    ]
)
FAST_KEY = np.dtype([("key", KEY), ("operation", "<u8"), ("status", "<u4"), ("protocol", "<u2"), ("client", "<u2")])
FAST_ROW = np.dtype(
    [
        ("exchanges", "<u8"),
        ("ns", "<u8"),
        ("bytes", "<u8", (2,)),
        ("durations", "<u4", (DURATIONS,)),
        ("sizes", "<u4", (2, SIZES)),
    ]
)
Names = Mapping[int, tuple[str, str]]
"""An operation's number in the kernel -> its class and its name."""


class FastMaps:
    """The maps of a loaded program. Used by one thread."""

    def __init__(self, program: Program) -> None:
        self._rows = [BpfMap(program.maps[f"rover_fast_rows_{epoch}"], FAST_KEY, FAST_ROW) for epoch in (0, 1)]
        self._operations = BpfMap(program.maps["rover_operations"], "<u8", "<u4")
        self._parsed = BpfMap(program.maps["rover_parsed"], "<u4", "<u4")
        self._map = BpfMap(program.maps["rover_fast_config"], "<i4", FAST_CONFIG)
        self._config = np.zeros((), FAST_CONFIG)
        self._config["durations"], self._config["sizes"] = _padded(DURATION_BOUNDS), _padded(SIZE_BOUNDS)
        self._config["sizes"][0] = 0  # what is smaller is in the first
        self._config["seed"] = secrets.randbits(64)  # nobody can choose what operations are taken for one
        warm(self._rows)
        self._map.update(0, self._config)

    def parse(self, pids: Collection[int] | None) -> None:
        """Have the parser read everything of these processes, of all if None, from now on."""
        wanted = set(pids or ())
        known = set(self._parsed.read()[0].tolist())
        for pid in known - wanted:
            self._parsed.delete(pid)
        try:
            for pid in wanted - known:
                self._parsed.update(pid, 1)
        except OSError:  # too many to tell apart
            pids = None
        self._config["off"], self._config["off_some"] = pids is None, bool(wanted)
        self._map.update(0, self._config)

    @property
    def operations(self) -> list[int]:
        """That are counted in the kernel."""
        found: list[int] = self._operations.read()[0].tolist()
        return found

    def forget(self, operations: Iterable[int]) -> None:
        """The next of each goes to the parser again, which names it."""
        for operation in operations:
            self._operations.delete(operation)

    def flip(self) -> None:
        """Have the other set of rows written. `drain` once no program can still be writing to this one."""
        self._config["epoch"] = 1 - self._config["epoch"]
        self._map.update(0, self._config)

    def drain(self) -> tuple[Array, Array]:
        """What was counted in the set that is not written any more: keys and rows, shape (n,)."""
        return self._rows[1 - int(self._config["epoch"])].drain()


def _padded(bounds: Sequence[int]) -> Array:
    room = DURATIONS if len(bounds) > SIZES else SIZES
    return np.array([*bounds, *[1 << 62] * (room - len(bounds))], "<u8")


class OperationNames:
    """What parsers call the operations that the kernel tells apart; the least recently used are forgotten."""

    def __init__(self) -> None:
        self._names: dict[int, tuple[str, str]] = {}

    @property
    def all(self) -> Names:
        return self._names

    def learn(self, names: Names) -> Names:
        """Returns those that are new."""
        fresh = {operation: name for operation, name in names.items() if operation not in self._names}
        self._names |= fresh
        return fresh

    def unknown(self, operations: Iterable[int]) -> set[int]:
        """Those without a name; the others are not the next to be forgotten."""
        wanted = set(operations)
        for operation in wanted & self._names.keys():
            self._names[operation] = self._names.pop(operation)
        return wanted - self._names.keys()

    def use(self, operation: int) -> tuple[str, str]:
        """Its class and name."""
        return self._names.get(operation, (OTHER, OTHER))

    def shrink(self) -> list[int]:
        """Forget the least recently used beyond what there is room for, and say which."""
        forgotten = list(self._names)[: max(0, len(self._names) - MOST_OPERATIONS)]
        for operation in forgotten:
            del self._names[operation]
        return forgotten


def told(keys: Array, rows: Array, protocols: Sequence[WireProtocol], names: OperationNames) -> Iterator[list[Any]]:
    """Rows of the kernel as `Interval.take` has those of workers."""
    for key, row in zip(keys.tolist(), rows, strict=True):
        socket, operation, status, protocol, client = key
        fast = protocols[protocol - 1].fast
        if fast is None:
            continue
        exchanges = int(row["exchanges"])
        errors = exchanges if fast.failed(status) else 0
        yield [
            *(*socket, client, protocol, *names.use(operation), str(status)),
            *(exchanges, exchanges, errors),
            _spread(exchanges, row["ns"], row["durations"]),
            *(_spread(exchanges, row["bytes"][way], row["sizes"][way]) for way in (0, 1)),
            {},
        ]


def _spread(count: int, total: Any, buckets: Array) -> list[Any]:
    return [count, int(total), {int(at): int(buckets[at]) for at in np.flatnonzero(buckets)}]
