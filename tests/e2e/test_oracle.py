"""The same traffic as an independent dissector saw it on the wire: exchange by exchange, connection by connection."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from dissector import dissected
from dissector import recording as capturing
from end_to_end import ENVIRONMENT, ROVER, until
from nginx import Nginx, exchanges, free_port

from rover_core.wire import Exchange
from rover_http1.plugin import connect
from rover_network import rowtext
from rover_network.feeds import places
from rover_network.intervals import Interval
from rover_network.sampling import Sampler
from rover_network.streams import Spoken, Streams
from rover_network.tape import HEADER, RECORDS, ROWS, Reader

pytestmark = pytest.mark.kernel

LOAD = 1000
Connection = tuple[int, int]
"""Ports of a server and of its client."""
Told = dict[Connection, list[tuple[str, str]]]
"""`GET /page` and status of each exchange, in order."""
FIELDS = ("tcp.stream", "tcp.srcport", "tcp.dstport", "http.request.method", "http.request.uri", "http.response.code")
NODE = """
const http = require("http");
http.createServer((request, response) => {
  request.resume();
  request.on("end", () => {
    if (request.url === "/broken") { response.writeHead(500); return response.end("no"); }
    response.write("one "); setTimeout(() => response.end("two"), 5);
  });
}).listen(Number(process.argv.at(-1)), "127.0.0.1");
"""
REQUESTS = """
import sys, requests
session = requests.Session()
for base in sys.argv[1:]:
    for method, path in (("GET", "/"), ("HEAD", "/"), ("GET", "/absent"), ("POST", "/broken"), ("GET", "/?q=1&r=2")):
        session.request(method, base + path, data="x" * 3000 if method == "POST" else None, timeout=20)
    requests.get(base + "/again", headers={"Connection": "close"}, timeout=20)
"""


class Servers:
    """nginx, Python's and Node's, each with a port."""

    def __init__(self, nginx: Nginx, folder: Path) -> None:
        self.nginx = nginx
        self.others: dict[int, subprocess.Popen[bytes]] = {}
        served = folder / "served"
        served.mkdir()
        self._start(sys.executable, "-m", "http.server", "-b", "127.0.0.1", "-d", served)
        if shutil.which("node"):
            self._start("node", "-e", NODE)

    def _start(self, *command: object) -> None:
        port = free_port()
        words = [*map(str, command), str(port)]
        self.others[port] = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: answers(port))

    @property
    def ports(self) -> list[int]:
        return [self.nginx.port, *self.others]

    @property
    def pids(self) -> list[int]:
        return [self.nginx.process.pid, *(each.pid for each in self.others.values())]

    def close(self) -> None:
        for each in self.others.values():
            end(each)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def everything(servers: Servers) -> None:
    """What curl, requests, ab and a client of raw bytes ask of them."""
    base = f"http://127.0.0.1:{servers.nginx.port}"
    for options in (
        [f"{base}/page", f"{base}/absent", f"{base}/broken", f"{base}/page"],
        ["-I", f"{base}/large"],
        ["-r", "100-200", f"{base}/large"],
        ["--compressed", f"{base}/zipped"],
        ["-d", "x" * 5000, f"{base}/page"],
        ["-H", "Expect: 100-continue", "-T", str(servers.nginx.log.parent / "words"), f"{base}/taken"],
        *(["-X", verb, f"{base}/page"] for verb in ("DELETE", "OPTIONS", "PATCH", "PUT", "PROPFIND")),
        ["--http1.0", f"{base}/page"],
        ["-Z", *(part for kb in range(0, 500, 50) for part in ("-r", f"0-{kb}000", f"{base}/slowly", "--next"))][:-1],
    ):
        quiet = ["curl", "-s", "--no-progress-meter", "-o", "/dev/null"]
        words = [part for option in options for part in ((option, *quiet[1:]) if option == "--next" else (option,))]
        subprocess.run([*quiet, *words], check=True, timeout=60, stdout=subprocess.DEVNULL)
    pipelined(servers.nginx.port, [b"/page", b"/absent", b"/broken", b"/page", b"/zipped"] * 4)
    others = [f"http://127.0.0.1:{port}" for port in servers.others]
    subprocess.run([sys.executable, "-c", REQUESTS, base, *others], check=True, timeout=60)
    subprocess.run(["ab", "-q", "-n", str(LOAD), "-c", "3", "-k", f"{base}/page"], check=True, timeout=60, stdout=-3)


def pipelined(port: int, paths: Sequence[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        requests = [b"GET %s HTTP/1.1\r\nHost: here\r\nAccept-Encoding: gzip\r\n\r\n" % path for path in paths]
        client.sendall(b"".join(requests)[:-30])
        time.sleep(0.05)
        client.sendall(b"".join(requests)[-30:])
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path, Servers]]:
    """A recording and a capture of the same traffic, and the servers that answered."""
    for program in ("nginx", "tshark", "curl", "ab"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    folder = tmp_path_factory.mktemp("oracle")
    (folder / "nginx").mkdir()
    folder.chmod(0o755)
    tape, wire = folder / "traffic.rover", folder / "wire.pcap"
    with ExitStack() as running:
        nginx = Nginx(folder / "nginx")
        running.callback(end, nginx.process)
        servers = Servers(nginx, folder)
        running.callback(servers.close)
        filters = " or ".join(f"tcp port {port}" for port in servers.ports)
        rover = recording(tape, servers.pids)
        running.callback(end, rover)
        until(lambda: answers(nginx.port))
        with capturing(wire, filters):
            everything(servers)
        time.sleep(1)
        rover.send_signal(signal.SIGINT)
        rover.wait(timeout=60)
        yield tape, wire, servers


def recording(tape: Path, pids: Sequence[int]) -> "subprocess.Popen[str]":
    """A `rover record network` that has begun."""
    room = "profiling.task.network.protocol_analyze.per_cpu_buffer=16MB"
    watched = [word for pid in pids for word in ("--pid", pid)]
    command = [
        ROVER,
        "record",
        "network",
        "-o",
        tape,
        "--duration",
        "0",
        "--log-level",
        "info",
        "--set",
        room,
        *watched,
    ]
    rover = subprocess.Popen(
        [*map(str, command)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        process_group=0,
    )
    said = []
    assert rover.stderr is not None
    for line in rover.stderr:
        said.append(line)
        if "task started" in line:
            return rover
    raise AssertionError(said)


def end(process: "subprocess.Popen[Any]") -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
    if process.stderr:
        process.stderr.close()


class Listing(Streams):
    """A worker's streams that also keep each exchange."""

    def __init__(self) -> None:
        super().__init__([None, Spoken(connect, None, {})], Interval(1 << 20), Sampler())
        self.found: list[tuple[tuple[int, int, int], Exchange]] = []

    def take(self, stream: Any, exchange: Exchange) -> None:
        self.found.append((stream.place[:3], exchange))
        super().take(stream, exchange)


def read_tape(tape: Path) -> tuple[Told, list[tuple[str, float]]]:
    """What the agent's reader makes of what the kernel shipped. Also (operation, seconds) of each exchange."""
    streams, ports = Listing(), {}
    with tape.open("rb") as file:
        for frame in Reader(file, "tape").frames():
            if frame.kind == HEADER:
                number = frame.json()["protocols"].index("http1") + 1
                streams._spoken = [None] * number + [streams._spoken[1]]  # type: ignore[assignment]
            for begin, _ in places(frame.content) if frame.kind == RECORDS else ():
                streams.feed(frame.content, begin)
            if frame.kind == ROWS:
                keys, rows = rowtext.read(frame.json()["rows"])
                for key, facts in zip(keys.tolist(), rows["facts"], strict=True):
                    ports[key] = int(facts["local_port"]), int(facts["remote_port"])
    streams.report()
    told: Told = defaultdict(list)
    for place, exchange in streams.found:
        assert exchange.request is not None
        told[ports[place]].append((f"{exchange.operation_class} {exchange.request.detail.target}", exchange.status))
    return told, [(exchange.operation, exchange.duration_ns / 1e9) for _, exchange in streams.found]


def dissect(wire: Path, ports: Sequence[int]) -> Told:
    """What tshark makes of what was on the wire."""
    decode = [word for port in ports for word in ("-d", f"tcp.port=={port},http")]
    fields = [word for field in FIELDS for word in ("-e", field)]
    lines = dissected(wire, *decode, "-Y", "http", "-T", "fields", "-E", "aggregator=|", *fields).splitlines()
    asked: dict[Connection, list[str]] = defaultdict(list)
    answered: dict[Connection, list[str]] = defaultdict(list)
    for line in lines:
        _, source, target, methods, uris, codes = line.split("\t")
        if methods:
            connection = int(target), int(source)
            asked[connection] += map(" ".join, zip(methods.split("|"), uris.split("|"), strict=True))
        if codes:
            connection = int(source), int(target)
            answered[connection] += (code for code in codes.split("|") if not code.startswith("1"))
    return {connection: list(zip(asked[connection], answered[connection], strict=True)) for connection in asked}


def test_a_dissector_on_the_wire_sees_the_same_exchanges(seen: tuple[Path, Path, Servers]) -> None:
    """Broken: an exchange is missed, doubled, put on another connection, in another order, or with another status."""
    tape, wire, servers = seen
    told, _ = read_tape(tape)
    expected = dissect(wire, servers.ports)
    assert sum(map(len, expected.values())) > LOAD + 60
    assert {port for port, _ in expected} == set(servers.ports)
    assert told == expected


def test_the_log_has_the_same_requests_and_times(seen: tuple[Path, Path, Servers]) -> None:
    """Broken: counts or statuses are not the server's own, to the last request, or times are not those of its log."""
    tape, _, servers = seen
    told, times = read_tape(tape)
    log = servers.nginx.requests()
    mine = Counter(each for (port, _), list_ in told.items() if port == servers.nginx.port for each in list_)
    without_queries: Counter[tuple[str, str]] = Counter()
    for (name, status), count in mine.items():
        without_queries[name.partition("?")[0], status] += count
    logged = Counter((operation, status) for operation, status, _ in log)
    assert sum(mine.values()) == sum(logged.values()) > LOAD
    assert logged - without_queries == without_queries - logged == Counter()
    slow = sorted(seconds for operation, _, seconds in log if operation == "GET /slowly")
    measured = sorted(seconds for operation, seconds in times if operation == "GET /slowly")
    assert len(measured) == len(slow) == 10
    assert slow[-1] > 0.2
    for ours, theirs in zip(measured, slow, strict=True):
        assert ours == pytest.approx(theirs, abs=0.05)


def test_replayed_without_root(seen: tuple[Path, Path, Servers], rover: Callable[..., Any]) -> None:
    """Broken: `rover replay` needs root, or its operations, counts and statuses are not the server's."""
    tape, _, servers = seen
    for each in (tape, *tape.parents[:3]):
        each.chmod(0o755)
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    done = rover("replay", tape, "--format", "json", "--sample", "5xx", prefix=nobody, cwd="/")
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    tape.chmod(0o600)
    logged = Counter((operation, status) for operation, status, _ in servers.nginx.requests())
    assert exchanges(records, pid=servers.nginx.process.pid, role="server") == logged
    samples = [record for record in records if record["type"] == "sample"]
    assert {record["status"] for record in samples} <= {"500", "501"}
    assert {record["subject"] for record in samples} >= {"/broken"}
    assert max(record["end_ns"] for record in records if record["type"] == "interval") < time.time_ns()
