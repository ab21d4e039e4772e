"""Counting stacks in the kernel: the user side of include/rover/stackcount.h, shared by profilers.

Programs write into one of two sets of maps. `collect` flips them, waits until no program can still be in the old
one, and empties that: what it returns are exact deltas, and counting never pauses.
"""

import mmap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rover_bpf.epochs import GROWS, NO_PREALLOC, settle, warm
from rover_bpf.latestack import LateStack
from rover_bpf.loader import load
from rover_bpf.maps import Array, BpfMap
from rover_bpf.plans import Attachment, Plan, attach
from rover_bpf.program import Program
from rover_bpf.ring import Ring
from rover_bpf.source import ProgramSource
from rover_bpf.targets import Targets
from rover_bpf.unwind.kernelrules import KernelRules
from rover_bpf.unwind.raw import RawStack, read_raw
from rover_core.errors import RoverError

FRAMES = 127
"""Frames of a stack that the kernel keeps (kernel.perf_event_max_stack); the root of a deeper one is lost."""

KEY = np.dtype(
    [("start_ns", "<u8"), ("user", "<u8"), ("kernel", "<u8"), ("tgid", "<u4"), ("tag", "<u4"), ("comm", "S16")]
)
VALUE = np.dtype([("events", "<u8"), ("total", "<u8")])
STACK = np.dtype([("depth", "<u8"), ("ip", "<u8", (FRAMES + 1,))])
NEWS = np.dtype([("start_ns", "<u8"), ("tgid", "<u4"), ("unused", "<u4")])
CONFIG = np.dtype(
    [("epoch", "<u4"), ("all", "<u4"), ("minimum", "<u8"), ("tags", "<u8"), ("ship", "<u4"), ("generation", "<u4")]
)
ALL_TAGS = (1 << 64) - 1
TALLIES = (
    "events",
    "matched",
    "counted",
    "counts_full",
    "stacks_full",
    "missed",
    "raw_full",
    "new_keys",
    "new_stacks",
)

_MEMBERS = (
    ("task_struct", "group_leader"),
    ("task_struct", "start_boottime"),
    ("task_struct", "comm"),
    ("task_struct", "mm"),
    ("mm_struct", "exec_vm"),
)
_GROWING = {"ROVER_COUNTS": "65536", "ROVER_STACKS": "65536", "ROVER_HASH_FLAGS": str(NO_PREALLOC)}
_PREALLOCATED = {"ROVER_COUNTS": "16384", "ROVER_STACKS": "8192", "ROVER_HASH_FLAGS": "0"}


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted between two collects.

    keys: shape (n,), dtype KEY. values: shape (n,), dtype VALUE. stacks: hash -> addresses, shape (depth,), uint64.
    tally: what happened in the kernel in that time, by the names of TALLIES.
    """

    keys: Array
    values: Array
    stacks: dict[int, Array]
    tally: dict[str, int]


@dataclass(frozen=True, slots=True)
class CounterSpec:
    """A stack-counting program and what it is to count.

    functions and members: as of a ProgramSource. minimum_ns: shorter events are not counted. tags: bit n set means
    that events with tag n are counted; a program without tags leaves them 0. ship_bytes: size of the ring for user
    stacks to be unwound here (rover/ship.h); 0 has the kernel walk all of them by frame pointers. also: functions
    that are not the plan's, which a kernel may refuse.
    """

    path: Path
    functions: Mapping[str, str]
    plan: Plan
    members: tuple[tuple[str, ...], ...] = ()
    minimum_ns: int = 0
    tags: int = ALL_TAGS
    ship_bytes: int = 0
    also: Mapping[str, str] = field(default_factory=dict)


class StackCounter:
    """One loaded and attached stack-counting program. Blocks like its kernel calls do; used by one thread."""

    def __init__(self, spec: CounterSpec) -> None:
        """Load and attach. Raises RoverError with the reason."""
        self._spec = spec
        self._program = _load(spec)
        try:
            self._open_maps()
            self._ring = Ring(self._program.maps["rover_news"])
            raw = self._program.maps.get("rover_raw")
            self._raw = Ring(raw) if raw else None
            self.rules = KernelRules(self._program.maps) if raw else None
            """By which the kernel unwinds user stacks; None where it follows frame pointers only."""
            warm([*self._counts, *self._stacks])
            self._configure()
            self.attachment: Attachment = attach(spec.plan, self._program)
        except BaseException:
            self._program.close()
            raise

    def _map(self, name: str, key: Any, value: Any) -> BpfMap:
        return BpfMap(self._program.maps[name], key, value)

    def _open_maps(self) -> None:
        self._counts = [self._map(f"rover_counts_{epoch}", KEY, VALUE) for epoch in (0, 1)]
        self._stacks = [self._map(f"rover_stacks_{epoch}", "<u8", STACK) for epoch in (0, 1)]
        self._targets = Targets(self._program.maps)
        self._config = self._map("rover_config", "<i4", CONFIG)
        self._tally_map = self._map("rover_tally", "<i4", "<u8")
        self._epoch, self._generation, self._all = 0, 0, False
        self._last_tally = dict.fromkeys(TALLIES, 0)
        self._room = min(self._counts[0].info.max_entries, self._stacks[0].info.max_entries)

    def watch(self, pids: Iterable[int]) -> None:
        """Count these processes too. RoverError if there are too many."""
        self._targets.add(pids)

    def unwatch(self, pids: Iterable[int]) -> None:
        self._targets.discard(pids)

    def watch_all(self, everything: bool) -> None:
        self._all = everything
        self._configure()

    def _configure(self) -> None:
        spec = self._spec
        ship = int(self._raw is not None)
        self._config.update(0, (self._epoch, int(self._all), spec.minimum_ns, spec.tags, ship, self._generation))

    def news(self) -> list[tuple[int, int]]:
        """(pid, start_ns) of the processes that were counted for the first time since the last call."""
        return [(int(new["tgid"]), int(new["start_ns"])) for new in map(_read_news, self._ring.drain())]

    def shipped(self) -> Iterator[RawStack]:
        """The stacks that the kernel could not walk since the last call, to be unwound here."""
        return map(read_raw, self._raw.drain()) if self._raw else iter(())

    def waiting_stacks(self) -> Collection[int]:
        """Hashes and ids of stacks whose events have begun but are not counted yet."""
        return ()

    def fill(self) -> float:
        """How full the maps in use are, 0..1."""
        tally = self._read_tally()
        added = max(tally[name] - self._last_tally[name] for name in ("new_keys", "new_stacks"))
        return added / self._room

    def collect(self) -> Counts:
        """Everything counted since the last call."""
        old, self._epoch = self._epoch, 1 - self._epoch
        self._generation += 1
        self._configure()
        settle()
        keys, values = self._counts[old].drain()
        hashes, stacks = self._stacks[old].drain()
        tally = self._read_tally()
        delta = {name: tally[name] - self._last_tally[name] for name in TALLIES}
        self._last_tally = tally
        return Counts(keys, values, _addresses(hashes, stacks), delta)

    def _read_tally(self) -> dict[str, int]:
        _, values = self._tally_map.read()
        totals = values.reshape(len(TALLIES), -1).sum(axis=1)
        return {name: int(total) for name, total in zip(TALLIES, totals, strict=True)}

    def late_stacks(self) -> Iterator[LateStack]:
        """Stacks of events that go on and have none yet; `unfinished` then has them, if they still go on."""
        return iter(())

    def unfinished(self) -> tuple[Array, Array]:
        """Keys and values of events that have begun and not ended; none where events have no length."""
        return np.empty(0, KEY), np.empty(0, VALUE)

    def close(self) -> None:
        self.attachment.detach()
        self._ring.close()
        if self._raw:
            self._raw.close()
        self._program.close()


def _read_news(record: memoryview) -> Any:
    return np.frombuffer(record, NEWS, count=1)[0].copy()


def _addresses(hashes: Array, stacks: Array) -> dict[int, Array]:
    depths: Sequence[int] = stacks["depth"].tolist()
    # Copies: a view of a few addresses would keep the whole drained array alive.
    return {h: ips[:depth].copy() for h, depth, ips in zip(hashes.tolist(), depths, stacks["ip"], strict=True)}


def _load(spec: CounterSpec) -> Program:
    """The best form of the program that this kernel takes."""
    members = _MEMBERS + spec.members
    refusals: list[RoverError] = []
    for form in _forms(spec):
        needed = (*members, GROWS) if form["ROVER_HASH_FLAGS"] == str(NO_PREALLOC) else members
        try:
            functions, optional = {**spec.functions, **spec.also}, frozenset(spec.also)
            return load(ProgramSource(spec.path, functions, needed, form, optional=optional))
        except RoverError as error:
            refusals.append(error)
            if not _may_fit_otherwise(error, form):
                break
    raise refusals[-1]


def _forms(spec: CounterSpec) -> list[dict[str, str]]:
    """The program's forms, best first: shipping stacks or not, with maps that grow or not."""
    pages = 1 << max(spec.ship_bytes // mmap.PAGESIZE, 1).bit_length() - 1
    ways: list[dict[str, str]] = [{"ROVER_RAW_PAGES": str(pages)}, {}] if spec.ship_bytes else [{}]
    return [{**way, **sizes} for way in ways for sizes in (_GROWING, _PREALLOCATED)]


def _may_fit_otherwise(error: RoverError, form: Mapping[str, str]) -> bool:
    """Whether an older kernel may take a plainer form: preallocated maps, no helper for user registers (5.15)."""
    text = str(error) + "".join(getattr(error, "__notes__", []))
    if "Operation not permitted" in text:
        return False
    return "preallocated" in text or ".".join(GROWS) in text or "ROVER_RAW_PAGES" in form
