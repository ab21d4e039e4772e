"""Processes in namespaces of their own, as containers have them, and what is special about how they connect."""

import subprocess
import sys
from pathlib import Path

import pytest
from lossy_link import lossy_link
from programs import go, process_of

from rover_core.model import Flow, Task

pytestmark = pytest.mark.kernel

CONTAINED = """
import os, socket, subprocess, sys
amount, times = int(sys.argv[1]), 3
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
server = socket.create_server(("127.0.0.1", 8080))
ready, wait = os.pipe()
print(os.getpid(), flush=True)
input()
if os.fork() == 0:
    clients = [socket.create_connection(("127.0.0.1", 8080)) for _ in range(times)]
    for client in clients:
        client.sendall(bytes(amount))
        client.shutdown(socket.SHUT_WR)
    os.write(wait, b"x")
    for client in clients:
        while client.recv(65536):
            pass
        client.close()
    os._exit(0)
os.read(ready, 1)
for _ in range(times):
    connection, _ = server.accept()
    while connection.recv(65536):
        pass
    connection.sendall(bytes(10 * amount))
    connection.close()
os.wait()
print("done", flush=True)
input()
"""
SERVER = """
import socket, sys
server = socket.create_server((sys.argv[1], 7777))
print("ready", flush=True)
input()
"""
IMPATIENT = """
import select, socket, sys, time
input()
connection = socket.socket()
connection.setblocking(False)
assert connection.connect_ex((sys.argv[1], 7777)) != 0
time.sleep(1)
assert select.select([], [connection], [], 0)[1]
assert connection.connect_ex((sys.argv[1], 7777)) == 0
print("done", flush=True)
input()
"""


def test_two_containers_with_the_same_addresses(profiler, start) -> None:  # type: ignore[no-untyped-def]
    """Broken: pids are those of a container; of servers that have one address and port in two network namespaces, the
    wrong one is the peer; or what comes after half of a connection is closed, or waited to be accepted, is lost.
    """
    if not Path("/sbin/ip").exists():
        pytest.skip("needs iproute2")
    alone = ("unshare", "--net", "--pid", "--fork", "--kill-child", sys.executable, "-c", CONTAINED)
    programs = {amount: start(*alone, str(amount)) for amount in (1000, 2000)}
    assert [each.stdout.readline() for each in programs.values()] == ["1\n", "1\n"]
    profiler.start(Task("contained", "NETWORK"), None)
    for each in programs.values():
        go(each)
        assert each.stdout.readline() == "done\n"
    flows = [flow for flow in profiler.stop("contained").flows if flow.key.transport == "tcp"]
    servers = []
    for amount in programs:
        (client,) = [flow for flow in flows if sent(flow) == 3 * amount and flow.key.role == "client"]
        (server,) = [flow for flow in flows if sent(flow) == 30 * amount and flow.key.role == "server"]
        assert (client.key.peer.process, server.key.peer.process) == (server.key.process, client.key.process)
        assert client.figures["read"].bytes == 30 * amount, "behind its own end"
        assert server.figures["read"].bytes == 3 * amount, "that waited to be accepted"
        assert client.connections == server.connections == server.figures["connect"].calls == 3
        assert Path(f"/proc/{server.key.process.pid}/status").exists(), "a pid of this host"
        servers.append(server.key.process)
    assert len(set(servers)) == 2


def sent(flow: Flow) -> int:
    return flow.figures["write"].bytes if "write" in flow.figures else 0


def test_a_connect_that_nobody_waits_for(profiler, start) -> None:  # type: ignore[no-untyped-def]
    """Broken: a non-blocking connect takes no time, or until somebody asks, instead of as long as its handshake."""
    if not Path("/dev/net/tun").exists() or not Path("/sbin/ip").exists():
        pytest.skip("needs TUN devices and iproute2")
    with lossy_link(delay_s=0.02, loss=0) as link:
        there = link.addresses[1]
        server = start(*link.inside(1, sys.executable, "-c", SERVER, there))
        assert server.stdout.readline() == "ready\n"
        client = start(*link.inside(0, sys.executable, "-c", IMPATIENT, there))
        process = process_of(client)
        profiler.start(Task("impatient", "NETWORK", (process.key,)), [process])
        go(client)
        assert client.stdout.readline() == "done\n"
        (flow,) = [flow for flow in profiler.stop("impatient").flows if flow.key.transport == "tcp"]
        end(client)
        end(server)
    connect = flow.figures["connect"]
    assert (flow.key.role, connect.calls, connect.timed) == ("client", 1, 1)
    assert 0.04e9 <= connect.mean_ns < 0.9e9


def end(program: "subprocess.Popen[str]") -> None:
    program.kill()
    program.wait()
