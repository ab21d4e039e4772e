"""A recording made by hand, replayed: whole, cut, damaged, too large, of strangers and of other versions."""

import io
import json
import shutil
import time
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rover_core.api import Health, WireProtocol
from rover_core.errors import RoverError, UsageError
from rover_core.model import Entity, Loss, Process, ProcessKey, Task, Telemetry
from rover_http1.plugin import rover_protocols
from rover_network import rowtext
from rover_network.counter import Counted
from rover_network.feeds import split
from rover_network.recorder import Recorder
from rover_network.records import END, RECORD
from rover_network.replaying import Replay
from rover_network.rows import BUCKETS_NS, KEY, ROW, TALLIES
from rover_network.rules import parse_rules
from rover_network.settings import NetworkSettings, ProtocolAnalyzeSettings, SamplingSettings
from rover_network.tape import (
    _FRAME,
    BLOCK,
    GATHERED,
    INTERVAL,
    MAGIC,
    RECORDS,
    ROWS,
    VERSION,
    Frame,
    Reader,
    Writer,
    _sum,
)
from rover_network.verdicts import compare

MS = 1_000_000
REQUEST = b"GET /a?token=secret HTTP/1.1\r\nHost: the.server.of.this.test\r\nAccept: */*\r\n\r\n"
ANSWER = b"HTTP/1.1 %d Fine\r\nContent-Length: 1000\r\nServer: the one that answers in this test\r\n\r\n"
CLIENT, SERVER = (7, 100), (8, 200)  # inode and process
START_NS = time.time_ns()
FIRST = MAGIC + b"%d\n" % VERSION


class _Counter:
    """What a recorder asks a counter for."""

    class probes:  # noqa: N801
        label = "a tape recorder"
        missing: ClassVar = {"drops": "there is nothing to drop"}

    class capture:  # noqa: N801
        feeds: ClassVar = [None]


class Traffic:
    """Writes exchanges between two processes as a worker and an agent would."""

    def __init__(self, out: BinaryIO, protocols: list[WireProtocol], room: int = 1 << 30) -> None:
        self.recorder = Recorder(out, room)
        self.recorder.begin(protocols, _Counter, {})  # type: ignore[arg-type]
        self.position = [0, 0]
        self.now_ns = 10**12
        self.calls = 0

    def exchange(self, status: int = 200, took_ns: int = 5 * MS, number: int = 1) -> None:
        self._both(0, REQUEST, 0, number)
        self.now_ns += took_ns
        self._both(1, ANSWER % status, 1000, number)

    def _both(self, answers: int, data: bytes, after: int, number: int) -> None:
        block = BLOCK.pack(self.now_ns, 0)
        for (inode, pid), sent in ((CLIENT, not answers), (SERVER, bool(answers))):
            places = self.position[answers], self.position[not answers]
            times = self.now_ns, self.now_ns
            head = RECORD.pack(inode, pid, 0, *places, *times, after, len(data), number, answers, sent, 0)
            block += head + data
            self.calls += 1
        self.position[answers] += len(data) + after
        self.recorder._send(RECORDS, block)

    def end(self) -> None:
        for inode, pid in (CLIENT, SERVER):
            head = RECORD.pack(inode, pid, 0, 0, 0, self.now_ns, self.now_ns, 0, 0, 1, 0, 0, END)
            self.recorder._send(RECORDS, BLOCK.pack(self.now_ns, 0) + head)

    def interval(self, ring_full: int = 0, lost: int = 0) -> None:
        keys, rows = np.zeros(2, KEY), np.zeros(2, ROW)
        address = np.frombuffer(bytes(10) + b"\xff\xff\x0a\0\0\1", "u1")
        for at, ((inode, pid), role, name, port, far) in enumerate(
            ((CLIENT, 1, b"asker", 5000, 80), (SERVER, 2, b"answerer", 80, 5000))
        ):
            keys[at] = (inode, pid, 0)
            facts = rows[at]["facts"]
            facts["start_ns"], facts["comm"], facts["role"], facts["speaks"] = 10**9, name, role, 1
            facts["local"] = facts["remote"] = address
            facts["local_port"], facts["remote_port"], facts["protocol"], facts["family"] = port, far, 6, 2
            rows[at]["sums"][0]["bytes"], rows[at]["sums"][0]["histogram"][3] = 4096, 2
        self.recorder._send(GATHERED, BLOCK.pack(self.now_ns, 0))
        tally = dict.fromkeys(TALLIES, 0) | {"calls_seen": self.calls, "ring_full": ring_full}
        times = {"time_ns": START_NS + self.now_ns, "now_ns": self.now_ns}
        facts_of_host = {"ports": [[0, "tcp", [80]]], "addresses": [], "interfaces": []}
        self.recorder.interval(Counted(keys, rows, {}, tally, [], 0), times, facts_of_host, lost)
        self.calls = 0


@pytest.fixture
def protocols() -> list[WireProtocol]:
    return list(rover_protocols())


def recorded(path: Path, protocols: list[WireProtocol], intervals: int = 2) -> Path:
    with path.open("wb", buffering=0) as out:
        traffic = Traffic(out, protocols)  # type: ignore[arg-type]
        entity = Entity("OS_LINUX", "shop", "here", "answerer")
        key = ProcessKey(SERVER[1], 100)
        traffic.recorder.processes([Process(key, 1, "answerer", None, (), 0, entities=(entity,))])
        for number in range(intervals):
            traffic.exchange()
            traffic.exchange(404)
            if number == intervals - 1:
                traffic.exchange(500, 300 * MS)
                traffic.end()
            traffic.interval(ring_full=3, lost=2)
        traffic.recorder.close()
    return path


def replayed(path: Path, protocols: list[WireProtocol], rules: str = "") -> tuple[list[Telemetry], list[str]]:
    task = Task("again", "NETWORK", settings={"sampling": parse_rules(rules)} if rules else {})
    with path.open("rb") as file:
        replay = Replay(file, NetworkSettings(), ProtocolAnalyzeSettings(), lambda: protocols, SamplingSettings())
        return list(replay.run(task)), list(replay.notes)


def statuses(batches: list[Telemetry], name: str) -> dict[str, int]:
    total: dict[str, int] = {}
    for operation in (each for batch in batches for each in batch.operations if each.key.flow.name == name):
        for status, count in operation.statuses.items():
            total[status] = total.get(status, 0) + count
    return total


def test_a_recording_is_profiled_as_the_traffic_was(tmp_path: Path, protocols: list[WireProtocol]) -> None:
    """Broken: what is replayed has other counts, ends, times, samples or losses than what was recorded."""
    batches, notes = replayed(recorded(tmp_path / "file", protocols), protocols, "slow>200ms,4xx,5xx")
    assert notes == []
    assert [batch.last for batch in batches] == [False, True]
    for name in ("asker", "answerer"):
        assert statuses(batches, name) == {"200": 2, "404": 2, "500": 1}
    last = batches[-1]
    sides = {flow.key.name: flow for flow in last.flows}
    assert sides["asker"].key.peer.process == sides["answerer"].key.process == ProcessKey(SERVER[1], 100)
    assert sides["asker"].figures["write"].bytes == 4096
    assert sides["asker"].figures["write"].ns == 0
    assert sides["asker"].figures["write"].histogram.counts[3] == 2  # type: ignore[union-attr]
    assert (last.start_ns, last.end_ns) == (batches[0].end_ns, START_NS + 10**12 + 320 * MS)
    durations = [operation.durations for operation in last.operations if "500" in operation.statuses]
    assert [each.total for each in durations] == [310 * MS] * 2
    assert last.completeness.lost == {Loss.RING_FULL: 3, Loss.WORKER_ENDED: 2}
    assert last.steps["calls seen"] == 12
    assert last.attributes["probe"] == "a tape recorder"
    assert last.attributes["not measured"] == "drops: there is nothing to drop"
    samples = {(sample.flow.name, sample.exchange.reason) for batch in batches for sample in batch.samples}
    assert samples == {(name, f"status_{kind}xx") for name in ("asker", "answerer") for kind in (4, 5)}
    texts = [sample.exchange.request.text for sample in last.samples if sample.exchange.request]
    assert texts
    assert all("token=[redacted]" in text and "secret" not in text for text in texts)
    assert any(meter.entity.service == "shop" for meter in last.meters)


def test_a_cut_file_is_used_up_to_the_cut(tmp_path: Path, protocols: list[WireProtocol]) -> None:
    """Broken: a recorder that was killed leaves nothing that can be used, or nobody is told that it was."""
    whole = recorded(tmp_path / "whole", protocols).read_bytes()
    sizes = frame_ends(whole)
    path = tmp_path / "cut"
    seen = []
    for end in (sizes[-2], sizes[-2] - 1, sizes[len(sizes) // 2] + 5):
        path.write_bytes(whole[:end])
        batches, notes = replayed(path, protocols)
        seen.append(sum(statuses(batches, "asker").values()))
        assert len(notes) == 1
        assert ("not ended" if end == sizes[-2] else "not whole: it ends in the middle of a frame") in notes[0]
        assert batches[-1].last
    assert seen[0] == 5
    assert 0 < seen[2] < 5


def frame_ends(data: bytes) -> list[int]:
    at = data.index(b"\n") + 1
    ends = []
    while at < len(data):
        at += _FRAME.size + _FRAME.unpack_from(data, at)[0]
        ends.append(at)
    return ends


def test_what_cannot_be_replayed_is_refused_in_a_sentence(tmp_path: Path, protocols: list[WireProtocol]) -> None:
    """Broken: a file of anything else, or of a later Rover, is read as what it is not, or ends in a traceback."""
    good = recorded(tmp_path / "good", protocols).read_bytes()
    first = good.index(b"\n") + 1
    files: dict[str, tuple[bytes, type[RoverError], str]] = {
        "empty": (b"", RoverError, "it is no recording"),
        "other": (b"\x7fELF" + bytes(100), RoverError, "it is no recording"),
        "later": (MAGIC + b"%d\n" % (VERSION + 1) + good[first:], UsageError, f"this Rover reads version {VERSION}"),
        "endless": (MAGIC + b"1" * 10_000, UsageError, "of version"),
        "headless": (good[:first], RoverError, "it has no header"),
        "cut": (good[: first + 20], RoverError, "it has no header"),
        "other layout": (FIRST + framed(Frame(b"H", b'{"record":"<IQ"}')), UsageError, "another layout"),
        "odd header": (FIRST + framed(Frame(b"H", b"[" * 100_000)), RoverError, "too deep"),
    }
    for name, (data, error, words) in files.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(error, match=words):
            replayed(path, protocols)


def framed(frame: Frame) -> bytes:
    return _FRAME.pack(len(frame.content), _sum(frame), frame.kind) + frame.content


HOSTILE: dict[str, Frame] = {
    "rows of nothing": Frame(ROWS, b'{"rows":[{"key":[1,2],"facts":{},"figures":{}}]}'),
    "a negative bucket": Frame(
        ROWS, b'{"rows":[{"key":[1,2,3],"facts":{},"figures":{"write":{"histogram":{"-1":1}}}}]}'
    ),
    "too large a number": Frame(INTERVAL, b'{"time_ns":1e400}'),
    "negative counts": Frame(
        INTERVAL,
        b'{"host":{"ports":[],"addresses":[],"interfaces":[]},"reasons":[[1,2,-3]],"tally":{},"uring":[],"evicted":0,'
        b'"lost":0,"time_ns":0}',
    ),
    "a block of nobody": Frame(RECORDS, BLOCK.pack(1, 9)),
    "no block": Frame(GATHERED, b"short"),
    "no object": Frame(INTERVAL, b"[]"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_frames_that_nobody_writes_end_the_file(tmp_path: Path, protocols: list[WireProtocol], name: str) -> None:
    """Broken: a file with correct sums but strange content crashes the agent, or is believed."""
    data = recorded(tmp_path / "file", protocols).read_bytes()
    (tmp_path / "file").write_bytes(data[: frame_ends(data)[-2]] + framed(HOSTILE[name]) + framed(HOSTILE[name]))
    batches, notes = replayed(tmp_path / "file", protocols)
    assert statuses(batches, "asker") == {"200": 2, "404": 2, "500": 1}
    assert "none of ours" in notes[0]


def test_strange_records_stay_in_the_worker(tmp_path: Path, protocols: list[WireProtocol]) -> None:
    """Broken: a forged record (a direction of 7, a protocol of 200, lengths of 2^64) takes the other ones along."""
    path = tmp_path / "file"
    with path.open("wb", buffering=0) as out:
        traffic = Traffic(out, protocols)  # type: ignore[arg-type]
        huge = 2**64 - 1
        for fields in (
            (1, 1, 1, 0, 0, 0, 0, 0, 4, 1, 7, 7, 0),
            (1, 1, 2, huge, huge, huge, huge, huge, 4, 1, 1, 1, 255),
            (1, 1, 3, 0, 0, 0, 0, 0, 4, 200, 0, 0, 0),
            (1, 1, 4, 0, 0, 0, 0, 0, 2**32 - 1, 1, 0, 0, 0),
        ):
            traffic.recorder._send(RECORDS, BLOCK.pack(1, 0) + RECORD.pack(*fields) + b"GET ")
        traffic.exchange()
        traffic.end()
        traffic.interval()
        traffic.recorder.close()
    batches, _ = replayed(path, protocols)
    assert statuses(batches, "asker") == statuses(batches, "answerer") == {"200": 1}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300), at=st.integers(0, 400), checked=st.booleans())
def test_any_bytes_are_read_without_a_traceback(data: bytes, at: int, checked: bool) -> None:
    """Broken: some file, or some change to a good one, makes the reader raise what nobody catches, or never end."""
    whole = FIRST + framed(Frame(ROWS, b'{"rows":[]}')) * 5
    changed = whole[:at] + data + whole[at + len(data) :]
    file = io.BytesIO(changed + framed(Frame(RECORDS, data)) if checked else changed)
    try:
        reader = Reader(file, "any")
        for frame in reader.frames():
            list(split(frame.content))
            with_rows(frame)
    except RoverError:
        pass


def with_rows(frame: Frame) -> None:
    with suppress(ValueError, KeyError, TypeError):
        rowtext.read(frame.json()["rows"])


def test_rows_survive_being_text() -> None:
    """Broken: a figure of layer 4 is another one, or missing, after it was recorded."""
    dice = np.random.default_rng(1)
    rows = np.zeros(20, ROW)
    rows["sums"]["bytes"] = dice.integers(0, 2**63, (20, 5), np.uint64)
    rows["sums"]["histogram"] = dice.integers(0, 3, (20, 5, len(BUCKETS_NS)))
    rows["facts"]["local"] = dice.integers(0, 256, (20, 16))
    rows["facts"]["comm"] = [b"name %d \xff" % number for number in range(20)]
    rows["facts"]["netns"] = 2**32 - 1
    rows["drops"] = dice.integers(0, 2**64, 20, np.uint64, endpoint=False)
    keys = np.zeros(20, KEY)
    keys["peer"] = dice.integers(0, 2**64, 20, np.uint64, endpoint=False)
    again_keys, again = rowtext.read(json.loads(json.dumps(list(rowtext.told(keys, rows)))))
    assert (again_keys == keys).all()
    for name in ("drops", "errors", "retransmits"):
        assert (again[name] == rows[name]).all()
    for name in ("bytes", "histogram"):
        assert (again["sums"][name] == rows["sums"][name]).all()
    for name in ("local", "remote", "netns", "role"):
        assert again["facts"][name].tolist() == rows["facts"][name].tolist()
    assert again["facts"]["comm"][3].decode(errors="replace").startswith("name 3 ")


def test_a_file_is_no_larger_than_it_may_be(tmp_path: Path, protocols: list[WireProtocol]) -> None:
    """Broken: recording fills the disk, or stops without a word, or leaves a file that cannot be used."""
    path, room = tmp_path / "file", 20_000
    with path.open("wb", buffering=0) as out:
        traffic = Traffic(out, protocols, room)  # type: ignore[arg-type]
        for _ in range(10):
            for _ in range(10):
                traffic.exchange()
            traffic.interval()
        traffic.recorder.close()
        assert traffic.recorder.stopped == "the file is as large as it may become"
        assert traffic.recorder.left_out > 10
    assert path.stat().st_size <= room
    batches, notes = replayed(path, protocols)
    assert 0 < sum(statuses(batches, "asker").values()) < 100
    assert notes == []


def test_a_full_disk_is_said_and_leaves_whole_frames() -> None:
    """Broken: the recorder dies of a full file system, or what it wrote before that is hidden by half a frame."""
    with open("/dev/full", "wb", buffering=0) as full:
        writer = Writer(full, 1 << 20)  # type: ignore[arg-type]
        assert not writer.write(Frame(RECORDS, b"x"))
        assert (writer.written, writer.stopped) == (0, "No space left on device")
    with open("/dev/null", "wb", buffering=0) as out:
        writer = Writer(out, 1 << 20)  # type: ignore[arg-type]
        assert writer.write(Frame(RECORDS, b"x"))
    with open("/dev/full", "wb", buffering=0) as full:
        writer._fd = full.fileno()
        assert not writer.write(Frame(RECORDS, b"x"))
        assert writer.stopped == "No space left on device"


def test_nothing_recorded_is_no_file_that_looks_like_a_recording(tmp_path: Path) -> None:
    """Broken: of a profiler that could not start a file is left with nothing in it but its end."""
    with open(tmp_path / "empty", "wb", buffering=0) as out:
        writer = Writer(out, 1 << 20)  # type: ignore[arg-type]
        writer.end({})
    assert (writer.written, (tmp_path / "empty").read_bytes()) == (0, b"")


def test_protocols_are_known_by_name(tmp_path: Path, protocols: list[WireProtocol]) -> None:
    """Broken: where other protocols are installed than at the time, connections are read as what they are not."""
    path = recorded(tmp_path / "file", protocols)
    batches, _ = replayed(path, [])
    assert not any(batch.operations for batch in batches)
    assert "http1: not installed" in batches[-1].attributes["not recognised"]
    other = replace(protocols[0], name="other")
    path.unlink()
    with path.open("wb", buffering=0) as out:
        traffic = Traffic(out, [other, protocols[0]])  # type: ignore[arg-type]
        traffic.exchange(number=2)
        traffic.end()
        traffic.interval()
        traffic.recorder.close()
    batches, _ = replayed(path, protocols)
    assert statuses(batches, "asker") == {"200": 1}
    assert {operation.key.protocol for batch in batches for operation in batch.operations} == {"http1"}


def test_classifiers_are_held_to_what_the_kernel_said(tmp_path: Path, protocols: list[WireProtocol]) -> None:
    """Broken: a classifier that decides otherwise than when a corpus was recorded is not noticed."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    path = recorded(tmp_path / "file", protocols)
    with path.open("rb") as file:
        (found,) = compare(file, protocols)
    assert (found.name, found.health, found.detail.split()[0]) == ("http1", Health.OK, "2")
    header = tmp_path / "blind_classify.h"
    header.write_text("static int http1_classify(const unsigned char *h, unsigned int s) { return s == 1 && h[0]; }")
    with path.open("rb") as file:
        (found,) = compare(file, [replace(protocols[0], classifier=header)])
    assert found.health is Health.PROBLEM
    assert found.detail == "2 connections whose first call was a request of http1 are now nothing known"


def test_sums_are_those_of_zlib() -> None:
    """Broken: files cannot be read by what the documentation says of them."""
    assert _sum(Frame(b"B", b"abc")) == zlib.crc32(b"Babc")
