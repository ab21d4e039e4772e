"""A recording played to the profiler, which reads it as it reads a kernel: its workers, its sums, its telemetry."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from rover_bpf.maps import Array
from rover_core.api import WireProtocol
from rover_core.errors import RoverError
from rover_core.model import Entity, Process, ProcessKey, Task, Telemetry
from rover_network import rowtext
from rover_network.counting import Counted, Origin
from rover_network.feeds import TapeFeed, split
from rover_network.host import RecordedHost
from rover_network.profiler import NetworkProfiler
from rover_network.records import END as ENDED
from rover_network.records import RECORD, Record
from rover_network.rows import KEY, ROW, TALLIES
from rover_network.settings import NetworkSettings, ProtocolAnalyzeSettings, SamplingSettings
from rover_network.tape import (
    BLOCK,
    END,
    GATHERED,
    HEADER,
    INTERVAL,
    MOST_WORKERS,
    PROCESSES,
    RECORDS,
    ROWS,
    Frame,
    Reader,
)

_MOST_ROWS = 200_000  # of an interval
_PROTOCOL_AT = RECORD.size - 4
_PROTOCOL_NUMBERS = 255
_PENDING = 64 << 20  # bytes of records
_END_OF_TIME_NS = 1 << 63
_Damaged = (ValueError, KeyError, TypeError, AttributeError, OverflowError)
Protocols = Callable[[], Sequence[WireProtocol]]


class Header(NamedTuple):
    """What a recording says of itself. protocols: names, by number from 1 on. workers: how many read the rings."""

    workers: int
    protocols: Sequence[str]
    host: str
    probe: str
    time_ns: int
    now_ns: int
    reasons: Mapping[int, str]
    missing: Mapping[str, str]
    unread: Mapping[str, str]


def read_header(frames: Iterator[Frame], name: str) -> Header:
    """The first frame. RoverError if it is of no use."""
    frame = next(frames, None)
    try:
        if frame is None or frame.kind != HEADER:
            raise ValueError("it has no header")
        told = frame.json()
        if told["record"] != RECORD.format:
            raise ValueError("its records have another layout than this Rover's")
        return Header(
            min(_count(told["workers"]), MOST_WORKERS),
            [str(each) for each in told["protocols"]][:_PROTOCOL_NUMBERS],
            str(told["host"]),
            str(told["probe"]),
            _count(told["time_ns"]),
            _count(told["now_ns"]),
            {int(number): str(text) for number, text in told["drop reasons"].items()},
            _texts(told["not measured"]),
            _texts(told["not recognised"]),
        )
    except _Damaged as error:
        why = str(error) if isinstance(error, ValueError) else "its header is none"
        raise RoverError(f"cannot replay {name}", why=why) from None


def _texts(pairs: Mapping[Any, Any]) -> dict[str, str]:
    return {str(name): str(text) for name, text in pairs.items()}


def _count(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < _END_OF_TIME_NS:
        raise ValueError("not a count")
    return value


class _Attached(NamedTuple):
    label: str
    missing: Mapping[str, str]


class _Tape:
    """A `counting.Counter` and its `Capture`: what is put into it by hand, instead of by a kernel.

    numbers: the protocols' by those of the recording; what is of others is left out. workers: how many read it.
    """

    def __init__(
        self, probes: _Attached, missing: Mapping[str, str], numbers: Mapping[int, int], workers: int
    ) -> None:
        self.probes = probes
        self.missing = missing
        self.capture = self
        self._numbers = np.zeros(256, np.uint8)
        for theirs, ours in numbers.items():
            self._numbers[theirs] = ours
        self._same = all(theirs == ours for theirs, ours in numbers.items())
        self.feeds = [TapeFeed() for _ in range(workers)]
        self._sent = [0] * workers
        self._pending: list[list[bytes]] = [[] for _ in range(workers)]
        self._room = _PENDING
        self.untaken = 0
        self.put(*_nothing())

    def shipped(self) -> list[int]:
        return self._sent

    def play(self, kind: bytes, block: bytes) -> int:
        """The content of a RECORDS or GATHERED frame. Returns whose it is; ValueError if there is no such worker.

        Records are kept until their worker told of them: until then what they are of is not known to the agent.
        """
        if len(block) < BLOCK.size:
            raise ValueError("no block")
        number: int = BLOCK.unpack_from(block)[1]
        if number >= len(self.feeds):
            raise ValueError("a block of nobody")
        self._pending[number].append(block)
        self._room -= len(block)
        if kind == GATHERED or self._room < 0:
            self.send(number)
        return number

    def send(self, number: int) -> None:
        """What was kept of that worker's."""
        blocks, self._pending[number] = self._pending[number], []
        for block in blocks:
            self._room += len(block)
            records = [bytes(view) for view in split(block)] if self._same else list(self._renumbered(block))
            if not records and len(block) > BLOCK.size:
                continue  # it would be a mark
            if self.feeds[number].send(block[: BLOCK.size] + b"".join(records)):
                self._sent[number] += len(records)
            else:
                self.untaken += len(records)

    def _renumbered(self, block: bytes) -> Iterator[bytes]:
        for view in split(block):
            record = bytearray(view)
            number = int(self._numbers[record[_PROTOCOL_AT]])
            if number or Record._make(RECORD.unpack_from(record)).event & ENDED:
                record[_PROTOCOL_AT] = number
                yield bytes(record)

    def put(self, keys: Array, rows: Array, counted: Mapping[str, Any]) -> None:
        """An interval, for the next `collect`."""
        rows["facts"]["speaks"] = self._numbers[np.minimum(rows["facts"]["speaks"], 255)]
        self._counted = Counted(
            keys,
            rows,
            {(_count(pid), _count(reason)): _count(count) for pid, reason, count in counted["reasons"]},
            {name: _count(counted["tally"].get(name, 0)) for name in TALLIES},
            [_count(pid) for pid in counted["uring"]],
            _count(counted["evicted"]),
            _count(counted["lost"]),
        )

    def collect(self) -> Counted:
        counted, untaken = self._counted, self.untaken
        self.untaken = 0
        self.put(*_nothing())
        return replace(counted, lost=counted.lost + untaken)

    def fill(self) -> float:
        return 0.0

    def close(self) -> None:
        for feed in self.feeds:
            feed.close()

    def watch(self, pids: Iterable[int]) -> None:
        """All that was recorded is."""

    unwatch = watch

    def watch_all(self, everything: bool) -> None:
        pass

    def ask_again(self, connection: tuple[int, int, int]) -> None:
        """What came of it is in the recording."""

    def capture_content(self, size: int) -> None:
        """There is what there is."""


def _entity(told: Mapping[str, Any]) -> Entity:
    layer, service, instance, process = (str(told[name]) for name in ("layer", "service", "instance", "process"))
    return Entity(layer, service, instance, process, tuple(map(str, told["labels"])))


def _nothing() -> tuple[Array, Array, Mapping[str, Any]]:
    empty = {"reasons": (), "tally": {}, "uring": (), "evicted": 0, "lost": 0}
    return np.zeros(0, KEY), np.zeros(0, ROW), empty


class Replay:
    """`rover_core.api.Replay`. Reads `file` once."""

    def __init__(
        self,
        file: BinaryIO,
        settings: NetworkSettings,
        analyze: ProtocolAnalyzeSettings,
        protocols: Protocols,
        sampling: SamplingSettings,
    ) -> None:
        self._reader = Reader(file, file.name)
        self._frames = self._reader.frames()
        self.header = read_header(self._frames, file.name)
        self._settings, self._analyze, self._sampling = settings, analyze, sampling
        self._installed = {protocol.name: protocol for protocol in protocols()}
        self._rows: list[tuple[Array, Array]] = []
        self._now_ns = self.header.time_ns
        self._host = RecordedHost()
        self._due = self._ended = False
        self.processes: list[Process] = []

    @property
    def notes(self) -> list[str]:
        """What is to be said of the file when it was read."""
        if self._reader.damage:
            return [f"The recording is not whole: {self._reader.damage}. What comes before that was used."]
        return [] if self._ended else ["The recording was not ended: its writer was. What it wrote was used."]

    def run(self, task: Task) -> Iterator[Telemetry]:
        """What the profiler makes of it, interval by interval; the last one is marked so."""
        ours = [self._installed[name] for name in self.header.protocols if name in self._installed]
        profiler = self._profiler(ours)
        profiler.start(task, None)
        profiler.tick()  # their answer tells that the workers know what to sample, before they read
        try:
            for frame in self._frames:
                if self._due and frame.kind != END:  # what is due at the end comes with the last
                    self._due = False
                    yield from profiler.drain()
                try:
                    self._play(frame, profiler)
                except _Damaged as error:
                    self._reader.damage = f"a frame is none of ours ({type(error).__name__})"
                    break
            for number in range(0 if self._ended else self.header.workers):
                self._tape.send(number)
            last = profiler.stop(task.id)
            if last:
                yield last
        finally:
            profiler.close()

    def _profiler(self, ours: Sequence[WireProtocol]) -> NetworkProfiler:
        header, names = self.header, [protocol.name for protocol in ours]
        numbers = {at: names.index(name) + 1 for at, name in enumerate(header.protocols, 1) if name in names}
        absent = {name: "not installed" for name in header.protocols if name not in names}
        probes, missing = _Attached(header.probe, header.missing), {**header.unread, **absent}
        tape = self._tape = _Tape(probes, missing, numbers, header.workers)
        origin = Origin(
            lambda layer7: tape,
            lambda: self._host,
            lambda: header.host,
            lambda: self._now_ns,
            header.time_ns - header.now_ns,
            lambda: header.reasons,
        )
        return NetworkProfiler(self._settings, self._analyze, lambda: ours, self._sampling, origin=origin)

    def _play(self, frame: Frame, profiler: NetworkProfiler) -> None:
        if frame.kind in (RECORDS, GATHERED):
            if self._tape.play(frame.kind, frame.content) == 0 and frame.kind == GATHERED:
                profiler.tick()
        elif frame.kind == ROWS:
            self._rows.append(rowtext.read(frame.json()["rows"]))
            if sum(len(keys) for keys, _ in self._rows) > _MOST_ROWS:
                raise ValueError("an interval with more rows than a kernel holds")
        elif frame.kind == PROCESSES:
            self._meet(frame.json(), profiler)
        elif frame.kind == INTERVAL:
            self._close_interval(frame.json())
        elif frame.kind == END:
            self._ended = True

    def _close_interval(self, told: Mapping[str, Any]) -> None:
        parts, self._rows = [_nothing()[:2], *self._rows], []
        keys, rows = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        self._host.take(told["host"])
        self._tape.put(keys, rows, told)
        self._due = True
        self._now_ns = max(self._now_ns, _count(told["time_ns"]))

    def _meet(self, told: Mapping[str, Any], profiler: NetworkProfiler) -> None:
        """Who the recorded processes are."""
        if told["first"]:
            self.processes = []
        for pid, start_ticks, entities in told["processes"]:
            key = ProcessKey(_count(pid), _count(start_ticks))
            self.processes.append(Process(key, 0, "", None, (), 0, entities=tuple(map(_entity, entities))))
        profiler.inform(self.processes)
