"""Whose connections are whose, from both ends, and those that are short, shared or lossy."""

import os
import select
import socket
import struct
import subprocess
import sys
import time
from subprocess import Popen

import pytest
from end_to_end import until
from kernelobjects import ebpf_objects, holdings, left_since, resident_kb
from programs import Script, go, line, process_of

from rover_core.model import Flow, Loss, Task
from rover_core.testing import this_process
from rover_network.counter import NetworkCounter
from rover_network.profiler import NetworkProfiler, create
from rover_network.settings import NetworkSettings

pytestmark = pytest.mark.kernel

SERVER = """
import socket
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
for _ in range(5):
    connection, _ = server.accept()
    while data := connection.recv(4096):
        connection.sendall(data * 3)
    connection.sendall(b"bye")
    connection.close()
print("done", flush=True)
input()
"""
CLIENT = """
import socket
port = int(input())
for _ in range(5):
    connection = socket.create_connection(("127.0.0.1", port))
    for _ in range(20):
        connection.sendall(bytes(100))
        assert len(connection.recv(300, socket.MSG_WAITALL)) == 300
    connection.shutdown(socket.SHUT_WR)
    assert connection.recv(4, socket.MSG_WAITALL) == b"bye"
    connection.close()
print("done", flush=True)
input()
"""
SHARED = """
import os, socket
here, there = socket.socketpair()
inherited, end = socket.socketpair()
input()
if os.fork() == 0:
    inherited.send(bytes(300))
    message, (descriptor,), *_ = socket.recv_fds(there, 1, 1)
    os.write(descriptor, bytes(500))
    os._exit(0)
a, b = socket.socketpair()
socket.send_fds(here, [b"x"], [a.fileno()])
os.wait()
print("done", flush=True)
input()
"""
FULL = """
import socket
receiver = socket.socket(type=socket.SOCK_DGRAM)
receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
receiver.bind(("127.0.0.1", 0))
print(receiver.getsockname()[1], flush=True)
input()
receiver.recv(10)
print("ready", flush=True)
input()
"""
UNIX = """
import os, socket
here, there = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
here.bind("\\0rover-test-%d" % os.getpid())
here.listen()
if os.fork() == 0:
    there.connect(here.getsockname())
    there.recv(1)
    there.send(bytes(40))
    there.recv(1)
    os._exit(0)
server, _ = here.accept()
print("ready", flush=True)
input()
server.send(b"x")
server.recv(40, socket.MSG_WAITALL)
print("done", flush=True)
input()
"""
REFUSED = """
import socket, sys
probe = socket.create_server(("127.0.0.1", 0))
place = probe.getsockname()
probe.close()
print(place[1], flush=True)
input()
for _ in range(5):
    with socket.socket() as client:
        assert client.connect_ex(place)
print("done", flush=True)
input()
"""


def tell(program: "Popen[str]", text: str) -> None:
    assert program.stdin is not None
    program.stdin.write(f"{text}\n")
    program.stdin.flush()


def flows_of(profiler: NetworkProfiler, task: str) -> list[Flow]:
    last = profiler.stop(task)
    assert last is not None
    return list(last.flows)


def test_both_ends_of_a_connection_agree(profiler, script: Script) -> None:  # type: ignore[no-untyped-def]
    """Broken: the peer of a local connection is an address only, or the two sides give different numbers; or a
    connection that one side has shut down is taken for closed while the other side still speaks."""
    server, client = script(SERVER), script(CLIENT)
    port = line(server)
    sides = [process_of(server), process_of(client)]
    profiler.start(Task("pair", "NETWORK", tuple(side.key for side in sides)), sides)
    tell(client, port)
    assert line(client) == line(server) == "done"
    flows = {flow.key.role: flow for flow in flows_of(profiler, "pair") if flow.key.transport == "tcp"}
    assert set(flows) == {"client", "server"}
    for role, mine, other in (("client", 1, 0), ("server", 0, 1)):
        key = flows[role].key
        assert (key.process, key.peer.process) == (sides[mine].key, sides[other].key)
        assert flows[role].connections == 5
    there, here = flows["client"].figures, flows["server"].figures
    assert there["write"].bytes == here["read"].bytes == 5 * 20 * 100
    assert here["write"].bytes == there["read"].bytes == 5 * (20 * 300 + len("bye"))
    assert there["connect"].calls == here["connect"].calls == here["close"].calls == there["close"].calls == 5
    assert there["write_rtt"].calls == there["write"].calls
    assert 0 < there["write_rtt"].mean_ns < 1e9


def test_who_uses_a_shared_socket_is_who_is_counted(profiler, script: Script) -> None:  # type: ignore[no-untyped-def]
    """Broken: what a child does with an inherited or received descriptor counts as its parent's, or not at all."""
    program = script(SHARED)
    time.sleep(0.2)
    profiler.start(Task("shared", "NETWORK"), None)
    go(program)
    assert line(program) == "done"
    sent = {
        figure.bytes: flow.key.process.pid
        for flow in flows_of(profiler, "shared")
        if flow.key.transport == "unix" and flow.key.name.startswith("python")
        for name, figure in flow.figures.items()
        if name == "write"
    }
    (children,) = (pid for amount, pid in sent.items() if amount == 800)
    assert children != program.pid


def test_ten_thousand_short_connections(profiler, build, start) -> None:  # type: ignore[no-untyped-def]
    """Broken: connections that open and close between two readings are lost, or the table overflows."""
    times = 10_000
    program = start(build("sockets.c"), "connect", str(times))
    time.sleep(0.2)
    process = process_of(program)
    profiler.start(Task("short", "NETWORK", (process.key,)), [process])
    go(program)
    batches = []
    while not _readable(program):
        profiler.tick()
        time.sleep(0.05)
    assert line(program) == f"{times} 0"
    batches = [batch for batch in profiler.drain() if batch.task_id == "short"]
    batches.append(profiler.stop("short"))
    flows = [flow for batch in batches for flow in batch.flows]
    for name in ("connect", "close"):
        assert sum(flow.figures[name].calls for flow in flows if name in flow.figures) == times
    assert not any(batch.completeness.lost for batch in batches)


def _readable(program: "Popen[str]") -> bool:
    return bool(select.select([program.stdout], [], [], 0)[0])


def test_roles_of_a_unix_connection_older_than_the_task(profiler, script: Script) -> None:  # type: ignore[no-untyped-def]
    """Broken: of two that are connected by a Unix socket already, nobody knows who listened."""
    program = script(UNIX)
    assert line(program) == "ready"
    profiler.start(Task("named", "NETWORK"), None)
    tell(program, "")
    assert line(program) == "done"
    flows = [each for each in flows_of(profiler, "named") if each.key.transport == "unix" and "write" in each.figures]
    (server,) = (each for each in flows if each.key.process.pid == program.pid)
    (client,) = (each for each in flows if each.key.process == server.key.peer.process)
    assert (server.key.role, server.figures["write"].bytes) == ("server", 1)
    assert (client.key.role, client.figures["write"].bytes) == ("client", 40)


def test_who_refused(profiler, script: Script) -> None:  # type: ignore[no-untyped-def]
    """Broken: connections that failed are of an unknown peer."""
    program = script(REFUSED)
    port = line(program)
    process = process_of(program)
    profiler.start(Task("refused", "NETWORK", (process.key,)), [process])
    tell(program, "")
    assert line(program) == "done"
    (flow,) = flows_of(profiler, "refused")
    assert (flow.address, flow.key.role, flow.counts["errors"]) == (f"127.0.0.1:{port}", "client", 5)


def test_drops_of_a_full_receive_queue(profiler, script: Script) -> None:  # type: ignore[no-untyped-def]
    """Broken: packets that the kernel throws away are not seen, or not whose they were, or not why."""
    with NetworkCounter() as counter:
        if "rover_on_freed" not in {each.function for each in counter.probes.attachments}:
            pytest.skip("before 6.11 a received packet does not tell for which socket it was dropped")
    program = script(FULL)
    port = int(line(program))
    process = process_of(program)
    profiler.start(Task("full", "NETWORK", (process.key,)), [process])
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", port))
        sender.send(b"x")
        tell(program, "")
        assert line(program) == "ready"
        before = _snmp("Udp", "RcvbufErrors")
        for _ in range(500):
            sender.send(bytes(500))
        dropped = _snmp("Udp", "RcvbufErrors") - before
    last = profiler.stop("full")
    assert dropped > 400
    seen = sum(flow.counts.get("drops", 0) for flow in last.flows)
    assert seen == pytest.approx(dropped, abs=5), "others' sockets may drop too"
    assert f"socket_rcvbuff {seen}" in last.attributes["drop reasons"]


def _snmp(protocol: str, name: str) -> int:
    with open("/proc/net/snmp") as lines:
        header, values = (text.split() for text in lines if text.startswith(f"{protocol}:"))
    return int(values[header.index(name)])


@pytest.mark.parametrize("traced", [True, False])
def test_a_read_that_had_begun(profiler, traced: bool) -> None:  # type: ignore[no-untyped-def]
    """Broken: a call that was waiting when the task began is lost, or gets somebody else's time.

    It has its own if anything was profiled as it began, since begins are stamped whoever is watched.
    """
    with NetworkCounter() as counter:
        if not counter.probes.lengths:
            pytest.skip("before 6.3 the end of a call without its begin is not counted")
    fresh = None
    here, there = socket.socketpair()
    code = "import os, sys; data = os.read(int(sys.argv[1]), 100); print(len(data), flush=True); input()"
    with here, there:
        program = subprocess.Popen(
            [sys.executable, "-c", code, str(there.fileno())],
            pass_fds=[there.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            time.sleep(0.5)
            process = process_of(program)
            if not traced:
                profiler = fresh = create(NetworkSettings())
            profiler.start(Task("begun", "NETWORK", (process.key,)), [process])
            here.send(bytes(7))
            assert line(program) == "7"
            last = profiler.stop("begun")
        finally:
            program.kill()
            program.communicate()
            if fresh:
                fresh.close()
    (read,) = [flow.figures["read"] for flow in last.flows if "read" in flow.figures]
    assert (read.calls, read.bytes, read.timed) == (1, 7, int(traced))
    assert last.completeness.degraded == ({} if traced else {Loss.MISSED_EVENT: 1})
    assert not traced or read.mean_ns > 0.4e9


@pytest.mark.parametrize("times", [10, pytest.param(100, marks=pytest.mark.servers)])
def test_attaching_many_times_under_load(build, start, times: int) -> None:  # type: ignore[no-untyped-def]
    """Broken: attaching leaves descriptors, programs, maps, links or memory behind, fails after a while, or disturbs
    what is watched.

    The kernel takes a second to let go of the tracepoints of system calls.
    """
    messages = 10_000 * times
    program = start(build("sockets.c"), "sendto", str(messages))
    time.sleep(0.2)
    host = ebpf_objects()
    with NetworkCounter() as counter:
        counter.watch([program.pid])
        again(counter, 2)  # caches fill
        held, memory = holdings(), resident_kb()
        go(program)
        again(counter, times)
        assert holdings() == held
        assert resident_kb() - memory < 4096
        assert line(program) == f"{messages} {messages * 1009}", "the target did all it wanted"
        here, there = socket.socketpair()
        with here, there:
            counter.collect()
            counter.watch([os.getpid()])
            here.send(b"x")
            assert counter.collect().rows["sums"]["bytes"][:, 0].sum() == 1, "the last time counts like the first"
    until(lambda: not left_since(host))


def again(counter: NetworkCounter, times: int) -> None:
    for _ in range(times):
        counter.detach()
        counter.attach()


def test_talk_with_the_kernel_is_no_traffic(profiler) -> None:  # type: ignore[no-untyped-def]
    """Broken: netlink, which every `getaddrinfo` uses, fills tables and meters with peers that are nobody."""
    me = this_process()
    profiler.start(Task("netlink", "NETWORK", (me.key,)), [me])
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        # struct nlmsghdr with RTM_GETLINK (18), NLM_F_REQUEST | NLM_F_DUMP; struct rtgenmsg
        netlink.send(struct.pack("=IHHIIB3x", 20, 18, 0x301, 1, 0, 0))
        assert netlink.recv(65536)
    assert flows_of(profiler, "netlink") == []


def test_sockets_that_never_had_another_end_are_nobodys(profiler, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Broken: each process that a server forks (as PostgreSQL does) is a client of `unknown`, by closing sockets."""
    me = this_process()
    listening = socket.create_server(("127.0.0.1", 0))
    named = socket.socket(socket.AF_UNIX)
    named.bind(str(tmp_path / "socket"))
    named.listen()
    unused = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    profiler.start(Task("closed", "NETWORK", (me.key,)), [me])
    for each in (listening, named, unused):
        each.close()
    idle, other = socket.socketpair()
    idle.close()
    other.close()
    assert {flow.key.peer.process for flow in flows_of(profiler, "closed")} == {me.key}
