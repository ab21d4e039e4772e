"""Bytes that real programs move by any call become the exchanges that they are, and what fails takes nobody along."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import Popen

import pytest
from programs import Script, go, line, process_of

from rover_core.api import WireProtocol
from rover_core.model import Loss, Operation, Task, Telemetry
from rover_http1.plugin import rover_protocols
from rover_network.profiler import NetworkProfiler, create
from rover_network.settings import NetworkSettings, ProtocolAnalyzeSettings

pytestmark = pytest.mark.kernel

PROGRAM = """
import os, socket, sys, tempfile
listener = socket.create_server(("127.0.0.1", 0))
print("ready", flush=True)
input()
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
BODY = b"b" * 3000

def whole(end, want):
    data = b""
    while len(data) < want:
        data += end.recv(65536)
    return data

def ask(path, send):
    request = b"GET %s HTTP/1.1\\r\\nHost: here\\r\\nX-Long: %s\\r\\n\\r\\n" % (path, b"l" * 300)
    send(client, request)
    return len(request)

def answer(status, send, body=BODY):
    head = b"HTTP/1.1 %d Fine\\r\\nContent-Length: %d\\r\\n\\r\\n" % (status, len(body))
    send(server, head, body)
    return len(head) + len(body)

def plain(end, *parts):
    end.sendall(b"".join(parts))

def gathered(end, *parts):
    order = []
    for part in parts:
        order += [part[at:at + 35] for at in range(0, min(70, len(part)), 35)] + [b"", part[70:]]
    os.writev(end.fileno(), order)

def message(end, *parts):
    end.sendmsg([piece for part in parts for piece in (part[:50], part[50:])])

def file(end, head, body):
    with tempfile.TemporaryFile() as source:
        source.write(body)
        source.flush()
        end.sendall(head)
        os.sendfile(end.fileno(), source.fileno(), 0, len(body))

def scattered(end, want):
    count = 0
    while count < want:
        count += os.readv(end.fileno(), [bytearray(10), bytearray(1), bytearray(90), bytearray(9000)])

def by_message(end, want):
    count = 0
    while count < want:
        count += end.recvmsg_into([bytearray(3), bytearray(60), bytearray(9000)])[0]

def peeking(end, want):
    end.recv(20, socket.MSG_PEEK)
    end.recv(4000, socket.MSG_PEEK)
    whole(end, want)

for path, status, send, receive in (
    (b"/plain", 200, plain, whole), (b"/gathered", 201, gathered, scattered), (b"/message", 202, message, by_message),
    (b"/file", 203, file, scattered), (b"/peeking", 404, plain, peeking),
):
    receive(server, ask(path, plain if send is file else send))
    receive(client, answer(status, send))
for end in (client, server):
    end.close()
print("done", flush=True)
input()
"""
KEPT = """
import socket, time
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()

def exchange(path, request=b"", answer=b"HTTP/1.1 200 Fine\\r\\nContent-Length: 2\\r\\n\\r\\nok"):
    client.sendall(b"GET %s HTTP/1.1\\r\\n%s\\r\\n" % (path, request))
    server.recv(9000)
    server.sendall(answer)
    client.recv(9000)

upgrade = b"Connection: upgrade\\r\\nUpgrade: websocket\\r\\n"
for _ in range(7):
    exchange(b"/before")
print("ready", flush=True)
input()
for _ in range(5):
    exchange(b"/kept")
exchange(b"/socket", upgrade, b"HTTP/1.1 101 Go\\r\\n%s\\r\\n" % upgrade)
for _ in range(3):
    client.sendall(b"\\x81\\x05hello" * 20)
    server.recv(9000)
print("switched", flush=True)
input()
exchange(b"/after")
print("done", flush=True)
input()
"""
MANY = """
import socket, time
listener = socket.create_server(("127.0.0.1", 0))
print("ready", flush=True)
input()
for _ in range(6):
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    for word in "abcdefghijklmnopqrstuvwxyz":
        client.sendall(b"GET /%s HTTP/1.1\\r\\nX: %s\\r\\n\\r\\n" % (word.encode() * 3, b"l" * 500))
        server.recv(9000)
        server.sendall(b"HTTP/1.1 200 Fine\\r\\nContent-Length: 0\\r\\n\\r\\n")
        client.recv(9000)
        time.sleep(0.001)
print("done", flush=True)
input()
"""
EXPECTED = {
    "GET /plain": {"200": 1},
    "GET /gathered": {"201": 1},
    "GET /message": {"202": 1},
    "GET /file": {"203": 1},
    "GET /peeking": {"404": 1},
}
BROKEN = "static int broken_classify(const unsigned char *head, unsigned int size) { return nonsense; }\n"
REFUSED = """
static inline __attribute__((always_inline)) int refused_classify(const unsigned char *head, unsigned int size)
{
    return head[4096 + size] == 'x';
}
"""


def make(*others: WireProtocol, **settings: int) -> NetworkProfiler:
    return create(NetworkSettings(), ProtocolAnalyzeSettings(**settings), lambda: [*others, *rover_protocols()])


@pytest.fixture(scope="module")
def reading() -> Iterator[NetworkProfiler]:
    """One for all tests here. A task of its own keeps the program loaded."""
    profiler = make()
    profiler.start(Task("always", "NETWORK", ()), [])
    yield profiler
    profiler.close()


def watched(profiler: NetworkProfiler, program: "Popen[str]") -> Telemetry:
    """What the profiler saw of a program that waits, is told to go, and says when it is done."""
    assert line(program) == "ready"
    process = process_of(program)
    profiler.start(Task("test", "NETWORK", (process.key,)), [process])
    go(program)
    assert line(program) == "done"
    telemetry = profiler.stop("test")
    assert telemetry is not None
    return telemetry


def by_role(telemetry: Telemetry, role: str) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for each in telemetry.operations:
        if each.key.flow.role == role:
            assert each.key.operation not in found
            found[each.key.operation] = dict(each.statuses)
    return found


def test_every_way_to_send_and_to_receive(reading: NetworkProfiler, script: Script) -> None:
    """Broken: bytes are missed, doubled or in another order where a program uses writev, sendmsg, readv, recvmsg,
    sendfile or MSG_PEEK."""
    telemetry = watched(reading, script(PROGRAM))
    assert by_role(telemetry, "client") == by_role(telemetry, "server") == EXPECTED
    assert not telemetry.completeness.lost
    for each in telemetry.operations:
        assert each.label == "http"
        assert each.durations.count == 1
        assert 0 < each.durations.total < 10**10
        assert 3000 < each.response_sizes.total < 3100
        assert 330 < each.request_sizes.total < 400
    assert {flow.protocol for flow in telemetry.flows if flow.figures.get("read")} == {"http"}
    assert telemetry.steps["connections recognised"] == 2
    assert telemetry.steps["exchanges"] == 10
    assert telemetry.steps["calls captured"] <= telemetry.steps["calls seen"]
    told = 10 + 2  # for the fast path what each exchange was, and the ends of both connections
    assert telemetry.steps["records read"] <= telemetry.steps["calls captured"] + told, (
        "short segments share a record"
    )


UDP = """
import socket, struct
listener = socket.socket(type=socket.SOCK_DGRAM)
listener.bind(("127.0.0.1", 0))
print("ready", flush=True)
input()
for number in range(5):
    client = socket.socket(type=socket.SOCK_DGRAM)
    if number % 2:
        client.connect(listener.getsockname())
    name = b"\\x04name\\x07example\\x00\\x00\\x01\\x00\\x01"
    query = struct.pack("!6H", number, 0x100, 1, 0, 0, 0) + name
    client.send(query) if number % 2 else client.sendto(query, listener.getsockname())
    _, address = listener.recvfrom(512)
    listener.sendto(struct.pack("!6H", number, 0x8183, 1, 0, 0, 0) + name, address)
    client.recvfrom(512)
print("done", flush=True)
input()
"""


def test_datagrams_of_connected_and_of_other_sockets(script: Script) -> None:
    """Broken: name servers and their clients, most of which never connect, are not seen."""
    dns = pytest.importorskip("rover_dns.plugin")
    profiler = make(*dns.rover_protocols())
    try:
        telemetry = watched(profiler, script(UDP))
    finally:
        profiler.close()
    for role in ("client", "server"):
        mine = [each for each in telemetry.operations if each.key.flow.role == role]
        assert {each.key.protocol for each in mine} == {"dns"}
        assert sum(each.durations.count for each in mine) == 5, role
        assert {status for each in mine for status in each.statuses} == {"NXDOMAIN"}


HEADER_ALONE = """
import socket, struct
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
print("ready", flush=True)
input()
for number in (1, 2):
    request = struct.pack("!hhih", 18, 0, number, 6) + b"tester"
    client.sendall(struct.pack("!i", len(request)) + request)
    (length,) = struct.unpack("!i", server.recv(4))
    server.recv(length)
    server.sendall(struct.pack("!iihi", 10, number, 0, 0))
    client.recv(100)
print("done", flush=True)
input()
"""


def test_a_length_that_is_read_alone_belongs_to_what_follows(script: Script) -> None:
    """Broken: of each connection to a server that reads lengths first, as Kafka's does, the first request is lost."""
    kafka = pytest.importorskip("rover_kafka.plugin")
    profiler = make(*kafka.rover_protocols())
    try:
        telemetry = watched(profiler, script(HEADER_ALONE))
    finally:
        profiler.close()
    if refused := telemetry.attributes.get("not recognised"):
        pytest.skip(f"this kernel does not take the classifier ({refused}), which tests/kernel is about")
    expected = {"ApiVersions": {"NONE": 2}}
    assert by_role(telemetry, "client") == by_role(telemetry, "server") == expected
    assert not telemetry.completeness.lost


def test_connections_that_were_there_before_and_those_that_change(reading: NetworkProfiler, script: Script) -> None:
    """Broken: of connections that are kept nothing is seen but what is opened during a task; or one that was upgraded
    is read as HTTP for ever, or never again."""
    program = script(KEPT)
    assert line(program) == "ready"
    process = process_of(program)
    reading.start(Task("kept", "NETWORK", (process.key,)), [process])
    go(program)
    assert line(program) == "switched"
    reading.tick()  # workers say what has become of the connection, and the kernel asks the classifiers again
    go(program)
    assert line(program) == "done"
    telemetry = reading.stop("kept")
    assert telemetry is not None
    expected = {"GET /kept": {"200": 5}, "GET /socket": {"101": 1}, "GET /after": {"200": 1}}
    assert by_role(telemetry, "client") == by_role(telemetry, "server") == expected
    assert telemetry.steps["connections recognised"] == 4
    assert not telemetry.completeness.lost


def test_without_the_tracepoints_that_tell_lengths(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: on kernels before 6.3 nothing is captured, or other bytes."""
    from rover_network import counting as module
    from rover_network.counter import NetworkCounter
    from rover_network.probes import RECEIVED, SENT

    monkeypatch.setattr(
        module, "NetworkCounter", lambda layer7: NetworkCounter(without=(SENT, RECEIVED), layer7=layer7)
    )
    profiler = make()
    try:
        telemetry = watched(profiler, script(PROGRAM))
    finally:
        profiler.close()
    assert by_role(telemetry, "client") == by_role(telemetry, "server") == EXPECTED


def test_a_classifier_that_is_broken_harms_nobody(script: Script, tmp_path: Path) -> None:
    """Broken: a protocol plugin that does not compile, or that the verifier refuses, takes the others along."""
    (http1,) = rover_protocols()
    others = []
    for name, text in (("broken", BROKEN), ("refused", REFUSED)):
        header = tmp_path / f"{name}_classify.h"
        header.write_text(text)
        others.append(replace(http1, name=name, classifier=header))
    others.append(replace(http1, name="unfindable", connect=lambda limits: http1.connect(limits)))
    profiler = make(*others)
    try:
        telemetry = watched(profiler, script(PROGRAM))
    finally:
        profiler.close()
    assert by_role(telemetry, "client") == EXPECTED
    assert {each.key.protocol for each in telemetry.operations} == {"http1"}
    said = telemetry.attributes["not recognised"]
    assert "broken_classify.h:1:" in said
    assert "nonsense" in said
    assert "refused: " in said
    assert "unfindable: " in said


def status(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/status").read_text()
    return {name: value.strip() for name, _, value in (each.partition(":") for each in text.splitlines())}


def test_workers_have_no_privileges(reading: NetworkProfiler) -> None:
    """Broken: who finds a hole in a parser has root; or a worker waits for its turn longer than its ring lasts."""
    assert len(reading.workers) == 2
    for pid in reading.workers:
        seen = status(pid)
        assert set(seen["Uid"].split()) == set(seen["Gid"].split()) == {"65534"}
        assert seen["Groups"] == ""
        assert {int(seen[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert seen["NoNewPrivs"] == "1"
        assert seen["Seccomp"] == "2"
        assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0) - 5
        links = {int(entry.name): os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}
        beyond = [link.partition("[")[0] for number, link in links.items() if number > 2]
        assert sorted(set(beyond)) == ["anon_inode:bpf-map", "socket:"]
        assert beyond.count("socket:") == 1


def operations(telemetry: list[Telemetry]) -> list[Operation]:
    return [each for batch in telemetry for each in batch.operations]


def test_a_worker_that_ends_is_replaced(script: Script) -> None:
    """Broken: after a crash nothing is read any more, or nobody is told that something was lost."""
    profiler = make(parallels=1)
    profiler.start(Task("always", "NETWORK", ()), [])
    try:
        (pid,) = profiler.workers
        first = script(PROGRAM)
        assert line(first) == "ready"
        profiler.start(Task("lost", "NETWORK", (process_of(first).key,)), [process_of(first)])
        os.kill(pid, signal.SIGSTOP)  # or it might have told before it ends
        go(first)
        assert line(first) == "done"
        os.kill(pid, signal.SIGKILL)
        seen = []
        end = time.monotonic() + 30
        while profiler.workers in ([], [pid]) and time.monotonic() < end:
            profiler.tick()
            time.sleep(0.1)
        assert profiler.workers
        last = profiler.stop("lost")
        assert last is not None
        seen.append(last)
        assert not operations(seen)
        assert last.steps["workers replaced"] == 1
        assert last.completeness.lost[Loss.WORKER_ENDED] == last.steps["records lost, worker ended"] > 10
        assert by_role(watched(profiler, script(PROGRAM)), "server") == EXPECTED
    finally:
        profiler.close()


@pytest.mark.parametrize(
    ("settings", "ring", "suffices"),
    [
        ({"parallels": 3, "per_cpu_buffer": 20_000, "queue_size": 10}, 32 << 10, False),
        ({"parallels": 1, "per_cpu_buffer": 1 << 20, "queue_size": 5000}, 1 << 20, True),
    ],
)
def test_rings_workers_and_queues_are_those_of_the_settings(
    script: Script, settings: dict[str, int], ring: int, suffices: bool
) -> None:
    """Broken: a setting does nothing, so what `rover doctor --network` advises does not help."""
    profiler = make(**settings, fast_path=False)
    profiler.start(Task("always", "NETWORK", ()), [])
    try:
        assert [rings(pid) for pid in profiler.workers] == [{ring}] * settings["parallels"]
        told = watched(profiler, script(MANY)).operations
        assert ("other" in {each.key.operation for each in told}) == (not suffices)
        assert len(told) <= settings["parallels"] * settings["queue_size"]
        assert (len(told) >= 52) == suffices
        program = script(MANY)
        assert line(program) == "ready"
        process = process_of(program)
        profiler.start(Task("full", "NETWORK", (process.key,)), [process])
        for pid in profiler.workers:
            os.kill(pid, signal.SIGSTOP)
        go(program)
        assert line(program) == "done"
        for pid in profiler.workers:
            os.kill(pid, signal.SIGCONT)
        last = profiler.stop("full")
        assert last is not None
        assert (last.completeness.lost.get(Loss.RING_FULL, 0) == 0) == suffices
    finally:
        profiler.close()


def rings(pid: int) -> set[int]:
    """Bytes of each map that a process has open."""
    texts = [entry.read_text() for entry in Path(f"/proc/{pid}/fdinfo").iterdir()]
    return {int(text.partition("max_entries:")[2].split()[0]) for text in texts if "max_entries:" in text}


def test_workers_end_with_an_agent_that_is_killed(tmp_path: Path) -> None:
    """Broken: an agent that is killed leaves processes behind."""
    text = """
import time
from rover_network.profiler import create
from rover_network.settings import NetworkSettings, ProtocolAnalyzeSettings
from rover_http1.plugin import rover_protocols
from rover_core.model import Task
profiler = create(NetworkSettings(), ProtocolAnalyzeSettings(), rover_protocols)
profiler.start(Task("t", "NETWORK", ()), [])
print("workers", *profiler.workers, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        said = next(text for text in agent.stdout if text.startswith("workers"))  # after what is logged
        workers = [int(word) for word in said.split()[1:]]
        agent.kill()
    assert workers
    end = time.monotonic() + 10
    while any(alive(pid) for pid in workers) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in workers)


def alive(pid: int) -> bool:
    try:
        return status(pid)["State"][0] not in "ZX" and status(pid)["Uid"].startswith("65534")
    except (OSError, KeyError):
        return False
