"""Calls that move many datagrams, each of another peer, against the program's own account."""

from collections import Counter
from collections.abc import Iterator
from subprocess import Popen
from typing import NamedTuple

import pytest
from programs import go, line, process_of

from rover_core.model import Loss, Task
from rover_dns.plugin import rover_protocols
from rover_network.capture import Layer7
from rover_network.counter import Counted, NetworkCounter
from rover_network.probes import RECEIVED, SENT
from rover_network.profiler import create
from rover_network.settings import NetworkSettings, ProtocolAnalyzeSettings

pytestmark = pytest.mark.kernel

# Two servers; a client that asks one of them, and one that asks both, neither of which wants to know who answers.
NOT_ASKING = """
import socket
def end():
    end = socket.socket(type=socket.SOCK_DGRAM)
    end.bind(("127.0.0.1", 0))
    return end
one, other, faithful, both = end(), end(), end(), end()
input()
for client, servers in ((faithful, (one, one)), (both, (one, other))):
    for server in servers:
        client.sendto(bytes(10), server.getsockname())
        _, address = server.recvfrom(100)
        server.sendto(bytes(20), address)
        assert len(client.recv(100)) == 20
print(*(each.getsockname()[1] for each in (one, faithful, both)), flush=True)
input()
"""
CLIENTS, ROUNDS, BATCH = 60, 5, 64
FEW, FEW_AT_ONCE = 2, 5


class Account(NamedTuple):
    """What tests/programs/datagrams.c says: calls of the server, and by client's port its bytes from and to it."""

    port: int
    receives: int
    sends: int
    clients: dict[int, tuple[int, int]]


def account(program: "Popen[str]") -> Account:
    port, receives, sends, *clients = line(program).split()
    named = (tuple(map(int, each.split(":"))) for each in clients)
    return Account(int(port), int(receives), int(sends), {name: (got, sent) for name, got, sent in named})


@pytest.fixture(scope="module")
def counter() -> Iterator[NetworkCounter]:
    with NetworkCounter(layer7=Layer7(rover_protocols())) as counter:
        if not counter.probes.lengths:
            pytest.skip("before 6.3 the ends of system calls tell it: the other tests")
        yield counter


@pytest.fixture(scope="module")
def by_ends() -> Iterator[NetworkCounter]:
    """As it is attached where the kernel does not tell of each message."""
    with NetworkCounter(without=(SENT, RECEIVED), layer7=Layer7(rover_protocols())) as counter:
        yield counter


def counted(counter: NetworkCounter, program: "Popen[str]") -> tuple[Account, Counted]:
    counter.collect()
    counter.watch([program.pid])
    go(program)
    told = account(program)
    seen = counter.collect()
    counter.unwatch([program.pid])
    return told, seen


def of_server(told: Account, seen: Counted) -> dict[int, tuple[int, int]]:
    """Bytes received and sent by the server, by its peer's port."""
    rows = seen.rows[seen.rows["facts"]["local_port"] == told.port]
    write, read = (rows["sums"]["bytes"][:, figure].tolist() for figure in (0, 1))
    return dict(zip(rows["facts"]["remote_port"].tolist(), zip(read, write, strict=True), strict=True))


def calls_of_server(told: Account, seen: Counted) -> list[int]:
    """Receiving and sending ones, those without their time last."""
    rows = seen.rows[seen.rows["facts"]["local_port"] == told.port]
    sums = rows["sums"]
    timed = [int(sums["histogram"][:, figure].sum()) for figure in (1, 0)]
    return [*timed, int(sums["untimed"].sum())]


@pytest.mark.parametrize("family", ["4", "6", "64"])
def test_every_datagram_is_of_its_own_peer(counter, build, start, family: str) -> None:  # type: ignore[no-untyped-def]
    """Broken: what `recvmmsg` takes is of an unknown peer, or of a neighbour's (an empty datagram moves them all), a
    call of many is counted more than once; or layer 7 does not get every datagram."""
    told, seen = counted(counter, start(build("datagrams.c"), family, str(CLIENTS), str(ROUNDS), str(BATCH)))
    assert told.receives < CLIENTS * ROUNDS / 10, "calls were to have many"
    assert {port: both for port, both in of_server(told, seen).items() if port} == told.clients
    assert of_server(told, seen).get(0, (0, 0)) == (0, 0)
    assert calls_of_server(told, seen) == [told.receives, told.sends, 0]
    assert seen.tally["classified"] == 2 * CLIENTS, "each at both ends"
    assert seen.tally["calls_shipped"] == 8 * CLIENTS * ROUNDS, "two questions, two answers, both ends"


def test_kernels_without_lengths_tell_few_apart(by_ends, build, start) -> None:  # type: ignore[no-untyped-def]
    """Broken: before 6.3 nobody knows the peers of a call, or its datagrams are not captured."""
    told, seen = counted(by_ends, start(build("datagrams.c"), "4", str(FEW), str(ROUNDS), str(FEW_AT_ONCE)))
    assert {port: both for port, both in of_server(told, seen).items() if port} == told.clients
    assert calls_of_server(told, seen) == [told.receives, told.sends, 0]
    assert seen.tally["calls_shipped"] == 8 * FEW * ROUNDS
    assert seen.tally["passed_over"] == 0


def test_kernels_without_lengths_lose_no_byte(by_ends, build, start) -> None:  # type: ignore[no-untyped-def]
    """Broken: before 6.3 what a call has too much of vanishes without a word."""
    told, seen = counted(by_ends, start(build("datagrams.c"), "6", str(CLIENTS), str(ROUNDS), str(BATCH)))
    bytes_seen = of_server(told, seen)
    for way in (0, 1):
        assert sum(both[way] for both in bytes_seen.values()) == sum(both[way] for both in told.clients.values())
    assert calls_of_server(told, seen) == [told.receives, told.sends, 0]
    lost = 8 * CLIENTS * ROUNDS - seen.tally["calls_shipped"]
    assert 0 < lost <= seen.tally["passed_over"] <= lost + ROUNDS, "one of each round is empty"


@pytest.mark.parametrize("way", ["counter", "by_ends"])
def test_who_answers_need_not_be_asked_for(request, script, way: str) -> None:  # type: ignore[no-untyped-def]
    """Broken: a client without a fixed other end that calls `recv` has its answers from nobody; or one that asks
    several has them from the wrong one."""
    counter = request.getfixturevalue(way)
    program = script(NOT_ASKING)
    counter.watch([program.pid])
    counter.collect()
    go(program)
    one, faithful, both = map(int, line(program).split())
    seen = counter.collect()
    counter.unwatch([program.pid])
    received = {
        (row["facts"]["local_port"], row["facts"]["remote_port"]): int(row["sums"]["bytes"][1]) for row in seen.rows
    }
    assert received[faithful, one] == 40
    assert received[both, one] == 20, "so far it was the only one"
    assert received[both, 0] == 20


def test_every_question_is_answered_once_at_both_ends(build, start) -> None:  # type: ignore[no-untyped-def]
    """Broken: questions of one call are mixed up: with another's name, answer, or code."""
    profiler = create(NetworkSettings(), ProtocolAnalyzeSettings(), rover_protocols)
    try:
        program = start(build("datagrams.c"), "4", str(CLIENTS), str(ROUNDS), str(BATCH))
        process = process_of(program)
        profiler.start(Task("dns", "NETWORK", (process.key,)), [process])
        if not profiler._counter.probes.lengths:
            pytest.skip("before 6.3 not all of a call is captured")
        go(program)
        account(program)
        last = profiler.stop("dns")
    finally:
        profiler.close()
    expected = Counter[tuple[str, str]]()
    for client in range(CLIENTS):
        name = f"x{chr(97 + client // 26)}{chr(97 + client % 26)}.test"
        status = "NXDOMAIN" if client % 2 else "NOERROR"
        expected.update({(f"A {name}", status): ROUNDS, (f"AAAA {name}", status): ROUNDS})
    for role in ("client", "server"):
        found = Counter[tuple[str, str]]()
        for each in last.operations:
            if each.key.flow.role == role:
                found.update({(each.key.operation, status): count for status, count in each.statuses.items()})
        assert found == expected, role
    assert not last.completeness.lost.get(Loss.GAP)
