"""A recording played to the profiler, which reads it as it reads a kernel: its workers, its sums, its telemetry."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from rover_bpf.maps import Array
from rover_core.api import WireProtocol
from rover_core.errors import RoverError, UsageError
from rover_core.model import Entity, Process, ProcessKey, Task, Telemetry
from rover_network import rowtext
from rover_network.counting import Origin
from rover_network.host import RecordedHost
from rover_network.profiler import NetworkProfiler
from rover_network.records import RECORD
from rover_network.settings import NetworkSettings, ProtocolAnalyzeSettings, SamplingSettings
from rover_network.tape import (
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
from rover_network.tapecounter import Attached, TapeCounter, checked_count, nothing

_MOST_ROWS = 200_000  # of an interval
_PROTOCOL_NUMBERS = 255
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
            why = "its records have another layout than this Rover's"
            raise UsageError(f"cannot replay {name}", why=why, remedy="Use the Rover that recorded it")
        return Header(
            min(checked_count(told["workers"]), MOST_WORKERS),
            [str(each) for each in told["protocols"]][:_PROTOCOL_NUMBERS],
            str(told["host"]),
            str(told["probe"]),
            checked_count(told["time_ns"]),
            checked_count(told["now_ns"]),
            {int(number): str(text) for number, text in told["drop reasons"].items()},
            _texts(told["not measured"]),
            _texts(told["not recognised"]),
        )
    except _Damaged as error:
        why = str(error) if isinstance(error, ValueError) else "its header is none"
        raise RoverError(f"cannot replay {name}", why=why) from None


def _texts(pairs: Mapping[Any, Any]) -> dict[str, str]:
    return {str(name): str(text) for name, text in pairs.items()}


def _entity(told: Mapping[str, Any]) -> Entity:
    layer, service, instance, process = (str(told[name]) for name in ("layer", "service", "instance", "process"))
    return Entity(layer, service, instance, process, tuple(map(str, told["labels"])))


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
        probes, missing = Attached(header.probe, header.missing), {**header.unread, **absent}
        tape = self._tape = TapeCounter(probes, missing, numbers, header.workers)
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
        parts, self._rows = [nothing()[:2], *self._rows], []
        keys, rows = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        self._host.take(told["host"])
        self._tape.put(keys, rows, told)
        self._due = True
        self._now_ns = max(self._now_ns, checked_count(told["time_ns"]))

    def _meet(self, told: Mapping[str, Any], profiler: NetworkProfiler) -> None:
        """Who the recorded processes are."""
        if told["first"]:
            self.processes = []
        for pid, start_ticks, entities in told["processes"]:
            key = ProcessKey(checked_count(pid), checked_count(start_ticks))
            self.processes.append(Process(key, 0, "", None, (), 0, entities=tuple(map(_entity, entities))))
        profiler.inform(self.processes)
