"""Round-trip times and retransmissions over a wire that delays and loses, between two network namespaces."""

import subprocess
import sys
from pathlib import Path

import pytest
from lossy_link import lossy_link
from programs import process_of

from rover_core.model import Task

pytestmark = pytest.mark.kernel

RECEIVER = """
import socket, sys
server = socket.create_server((sys.argv[1], 7777))
print("ready", flush=True)
connection, _ = server.accept()
total = 0
while data := connection.recv(65536):
    total += len(data)
print(total, flush=True)
input()
"""
SENDER = """
import socket, sys
input()
connection = socket.create_connection((sys.argv[1], 7777))
connection.sendall(bytes(500_000))
for _ in range(50):
    connection.send(b"x" * 100)
connection.shutdown(socket.SHUT_WR)
connection.recv(1)
input()
"""
AMOUNT = 505_000


def test_a_slow_and_lossy_wire(profiler, start) -> None:  # type: ignore[no-untyped-def]
    """Broken: retransmissions are not those that the kernel counts, or the round-trip time is not the wire's."""
    if not Path("/dev/net/tun").exists() or not Path("/sbin/ip").exists():
        pytest.skip("needs TUN devices and iproute2")
    with lossy_link(delay_s=0.02, loss=0.05) as link:
        there = link.addresses[1]
        receiver = start(*link.inside(1, sys.executable, "-c", RECEIVER, there))
        assert receiver.stdout.readline() == "ready\n"
        sender = start(*link.inside(0, sys.executable, "-c", SENDER, there))
        sides = [process_of(sender), process_of(receiver)]
        profiler.start(Task("lossy", "NETWORK", tuple(side.key for side in sides)), sides)
        sender.stdin.write("\n")
        sender.stdin.flush()
        assert receiver.stdout.readline() == f"{AMOUNT}\n"
        resent = _retransmitted(sender)
        last = profiler.stop("lossy")
        for program in (sender, receiver):
            program.kill()
            program.wait()
    flows = {flow.key.role: flow for flow in last.flows if flow.key.transport == "tcp"}
    sent, received = flows["client"], flows["server"]
    assert resent > 5
    assert sent.counts["retransmits"] == pytest.approx(resent, rel=0.02)
    assert sent.figures["write"].bytes == received.figures["read"].bytes == AMOUNT
    assert sent.key.peer.process == sides[1].key, "in another network namespace"
    rtt = sent.figures["write_rtt"]
    assert 0.04e9 <= rtt.mean_ns < 0.2e9
    assert sum(rtt.histogram.counts[: rtt.histogram.bounds.index(40e6)]) == 0, "none is shorter than the wire"
    assert 0.04e9 <= sent.figures["connect"].mean_ns < 2e9


def _retransmitted(program: "subprocess.Popen[str]") -> int:
    """Segments, of all connections in the program's network namespace."""
    lines = Path(f"/proc/{program.pid}/net/snmp").read_text().splitlines()
    names, values = (line.split() for line in lines if line.startswith("Tcp:"))
    return int(values[names.index("RetransSegs")])
