"""What a worker needs it has loaded by the time it gives up its rights, for every protocol that is installed."""

import ast
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from captures import Flow, captured, flows, recorded
from classifying import PROTOCOLS, Classify, compiled, directed, installed

from rover_core.api import WireProtocol
from rover_network.records import DATAGRAM, RECORD
from rover_network.workers import describe

PROGRAM = """
import io, json, os, socket, sys, threading, time
from rover_network import worker
from rover_network.worker import LENGTH, REPORT, TASKS

orders, tasks, records = [json.loads(line) for line in sys.stdin]
here, there = socket.socketpair()
end, ready = os.pipe()
os.write(ready, b"x")
late = []
begun = threading.Event()

class Barrier:
    def find_spec(self, name, path=None, target=None):
        late.append(name)

class Ring:
    fd, given_up, now_ns = end, None, time.monotonic_ns
    def __init__(self, *_):
        self.records = [bytes.fromhex(each) for each in records]
    def drain(self):
        taken = []
        if begun.is_set():
            taken, self.records = self.records, taken
        yield from ((each, [(0, len(each))]) for each in taken)

spoken = worker.learn([None, *orders])
worker.open_source = Ring
worker.confine = lambda memory: sys.meta_path.insert(0, Barrier())
order = {"channel": there.detach(), "number": 0, "queue_size": 1000,
         "sampling": {"headers": [], "parameters": [], "encodings": ["utf-8", "gbk"]}}

def ask():
    def message():
        (length,) = LENGTH.unpack(here.recv(LENGTH.size, socket.MSG_WAITALL))
        return json.loads(here.recv(length, socket.MSG_WAITALL))
    message()
    body = json.dumps(tasks).encode()
    here.sendall(TASKS + LENGTH.pack(len(body)) + body)
    reports = []
    for _ in range(3):
        here.sendall(REPORT)
        reports.append(message())
        begun.set()
    here.close()
    print(json.dumps(reports), file=out)

out = os.fdopen(os.dup(1), "w")
asking = threading.Thread(target=ask)
asking.start()
worker.work(order, spoken)
asking.join()
print(json.dumps(late), file=out, flush=True)
"""
RULES = [
    ["task", [{"min_duration_ns": 0, "when_error": True, "attach_request": True, "attach_response": True}], None]
]


RECORDED = Path(__file__).parents[2] / "plugins" / "protocols"


def conversations(protocol: WireProtocol, folder: Path) -> Iterator[list[Flow]]:
    """Of some captures that others published, and of those that are recorded beside the plugin. folder: for these."""
    names = {ours: theirs for theirs, ours in PROTOCOLS.items()}
    for capture in captured(names.get(protocol.name, protocol.name))[:12]:
        yield flows(capture.file)[:4]
    for file in sorted(RECORDED.glob(f"{protocol.name}/tests/captures/*.pcap*")):
        yield (recorded(file, folder) if file.suffix == ".gz" else flows(file))[:8]


def records_of(protocol: WireProtocol, number: int, classify: Classify, folder: Path) -> Iterator[str]:
    for at, connections in enumerate(conversations(protocol, folder)):
        for flow in connections:
            event = DATAGRAM if flow.transport == "udp" else 0
            mine = directed(flow, classify)
            if mine is None or (event and protocol.datagrams is None):
                continue
            places = [0, 0]
            for piece in mine.pieces[:500]:
                side, data, now = int(piece.direction), piece.data[:16_000], piece.timestamp_ns
                key = (100 * at + flow.index, number, 0, places[side], places[1 - side], now, now)
                places[side] += len(piece.data)
                after = len(piece.data) - len(data)
                yield (RECORD.pack(*key, after, len(data), number, side, side, event) + data).hex()


def modules(package: str) -> Iterator[Path]:
    """Of that package, without the hooks, which workers call before they give up their rights."""
    spec = importlib.util.find_spec(package)
    assert spec
    assert spec.origin
    yield from (file for file in Path(spec.origin).parent.rglob("*.py") if file.name != "plugin.py")


@pytest.mark.parametrize("protocol", installed(), ids=lambda protocol: protocol.name)
def test_what_a_parser_imports_it_imports_at_its_top(protocol: WireProtocol) -> None:
    """Broken: a compression, or another rare shape of messages, cannot be read in a worker, or not rendered."""
    files = list(modules(protocol.connect.__module__.partition(".")[0]))
    assert files
    late = [
        f"{file.name}:{node.lineno}"
        for file in files
        for function in ast.walk(ast.parse(file.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert late == []


def test_workers_import_nothing_later(tmp_path: Path) -> None:
    """Broken: where `nobody` may not read the installation, a parser or its rendering fails on first use."""
    protocols = installed()
    records = [
        list(records_of(protocol, number, compiled(protocol, tmp_path), tmp_path))
        for number, protocol in enumerate(protocols, 1)
    ]
    order = [[describe(each) for each in protocols], RULES, [each for some in records for each in some]]
    lines = "\n".join(json.dumps(each) for each in order)
    command = [sys.executable, "-P", "-c", PROGRAM]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    reports, late = (json.loads(line) for line in done.stdout.splitlines())
    found = {row[4] for report in reports for row in report["rows"]}
    assert found == {number for number, some in enumerate(records, 1) if some}
    assert any(report["samples"] for report in reports)
    assert late == []
