"""Every system call that sends or receives, against the program's own account of it."""

import time
from collections.abc import Iterator

import pytest
from programs import go

from rover_core.model import Loss
from rover_network.counter import NetworkCounter
from rover_network.probes import RECEIVED, SENT

pytestmark = pytest.mark.kernel

SENDING = ("write", "writev", "pwritev2", "send", "sendto", "sendmsg", "sendmmsg", "sendfile", "splice-out", "dup")
RECEIVING = ("read", "readv", "preadv2", "recv", "peek", "recvmsg", "recvmmsg", "splice-in")
CONNECTING = ("connect", "connect6", "connect-mapped", "connect-nonblocking")


@pytest.fixture(scope="module")
def by_ends() -> Iterator[NetworkCounter]:
    """The program as it is attached where the kernel does not tell lengths."""
    counter = NetworkCounter(without=(SENT, RECEIVED))
    assert not counter.probes.lengths
    yield counter
    counter.close()


def settled() -> None:
    """Until a program just started waits for its line, with the connection made."""
    time.sleep(0.15)


@pytest.mark.parametrize("mode", SENDING)
def test_what_is_sent_is_counted_call_by_call(watch, build, start, mode: str) -> None:  # type: ignore[no-untyped-def]
    """Broken: a way to send is not seen, counted once for each of its parts, or with other bytes than it sent."""
    program = start(build("sockets.c"), mode)
    settled()
    seen = watch(program)
    (flow,) = [each for each in seen.flows if "write" in each.figures]
    write = flow.figures["write"]
    assert [write.calls, write.bytes] == seen.account
    assert write.timed == write.calls
    assert write.histogram is not None
    assert sum(write.histogram.counts) == write.calls
    assert "read" not in flow.figures
    assert (flow.key.role, flow.key.transport) == ("server", "tcp"), "the connection was there: its port listens"


@pytest.mark.parametrize("mode", RECEIVING)
def test_what_is_received_is_counted_call_by_call(watch, build, start, mode: str) -> None:  # type: ignore[no-untyped-def]
    """Broken: a way to receive is not seen, a peek counts, or bytes differ from those received."""
    program = start(build("sockets.c"), mode)
    settled()
    seen = watch(program)
    read = seen.sum("read")
    assert [read.calls, read.bytes] == seen.account
    assert read.timed == read.calls
    assert not seen.sum("write").calls


@pytest.mark.parametrize("mode", CONNECTING)
def test_every_connection_is_made_once_and_closed_once(watch, build, start, mode: str) -> None:  # type: ignore[no-untyped-def]
    """Broken: a short connection is lost, one not waited for has no duration, or a second look counts twice."""
    program = start(build("sockets.c"), mode)
    settled()
    seen = watch(program)
    (flow,) = seen.flows
    assert (flow.key.role, flow.key.transport, flow.connections) == ("client", "tcp", seen.account[0])
    for name in ("connect", "close"):
        figure = flow.figures[name]
        assert [figure.calls, figure.timed] == [seen.account[0]] * 2
    assert 1_000 < flow.figures["connect"].mean_ns < 1e9
    assert flow.key.peer.local
    assert flow.address.rpartition(":")[0] == ("[::1]" if mode == "connect6" else "127.0.0.1")
    assert not flow.counts


@pytest.mark.parametrize("mode", ["accept", "accept4"])
def test_who_accepts_is_the_server(watch, build, start, mode: str) -> None:  # type: ignore[no-untyped-def]
    """Broken: an accepted connection is not seen, or taken for one that the process made."""
    program = start(build("sockets.c"), mode)
    settled()
    seen = watch(program)
    assert {flow.key.role for flow in seen.flows} == {"server"}
    assert seen.sum("connect").calls == seen.sum("close").calls == seen.account[0]
    assert [seen.sum("read").calls, seen.sum("read").bytes] == seen.account


@pytest.mark.parametrize(
    ("mode", "transport"), [("udp", "udp"), ("udp6", "udp"), ("udp-connected", "udp"), ("unix", "unix")]
)
def test_other_sockets_than_tcp(watch, build, start, mode: str, transport: str) -> None:  # type: ignore[no-untyped-def]
    """Broken: datagrams or local sockets are not seen, or where a datagram went is not known."""
    program = start(build("sockets.c"), mode)
    settled()
    seen = watch(program)
    (flow,) = [each for each in seen.flows if "write" in each.figures]
    assert [flow.figures["write"].calls, flow.figures["write"].bytes] == seen.account
    assert (flow.key.role, flow.key.transport, flow.key.peer.local) == ("client", transport, True)
    if transport == "udp":
        assert flow.key.peer.address == ("::1" if mode == "udp6" else "127.0.0.1")
        assert flow.key.peer.port


def test_files_are_no_traffic(watch, build, start) -> None:  # type: ignore[no-untyped-def]
    """Broken: reading and writing files counts as network."""
    program = start(build("sockets.c"), "file")
    settled()
    seen = watch(program)
    assert seen.account[1] > 0
    assert seen.flows == []


@pytest.mark.parametrize("mode", [*SENDING, *RECEIVING])
def test_kernels_that_tell_no_lengths_give_the_same(by_ends, build, start, mode: str) -> None:  # type: ignore[no-untyped-def]
    """Broken: before 6.3, where the ends of system calls tell it, something else is counted."""
    program = start(build("sockets.c"), mode)
    settled()
    by_ends.watch([program.pid])
    go(program)
    assert program.stdout is not None
    account = [int(number) for number in program.stdout.readline().split()]
    counted = by_ends.collect()
    by_ends.unwatch([program.pid])
    figure = 0 if mode in SENDING else 1
    sums = counted.rows["sums"][:, figure]
    assert [sums["histogram"].sum(), sums["bytes"].sum()] == account
    assert sums["untimed"].sum() == 0, "all have their time"


def test_nothing_is_lost_or_poor(watch, build, start) -> None:  # type: ignore[no-untyped-def]
    """Broken: the ledger says less, or more, than was counted."""
    program = start(build("sockets.c"), "write")
    settled()
    seen = watch(program)
    total = sum(batch.completeness.kept for batch in seen.batches)
    assert total == sum(batch.completeness.expected for batch in seen.batches) == seen.account[0]
    assert not any(batch.completeness.degraded.get(Loss.MISSED_EVENT) for batch in seen.batches)


def test_io_uring_is_counted_and_said(profiler, watch, build, start) -> None:  # type: ignore[no-untyped-def]
    """Broken: what a program sends past all system calls is lost, gets another call's time, or nobody says so.

    Before 6.3 it can only be said.
    """
    program = start(build("uring.c"))
    settled()
    seen = watch(program)
    if not seen.account[0]:
        pytest.skip("this kernel refuses io_uring")
    write = seen.sum("write")
    told = profiler._counter.probes.lengths
    assert [write.calls, write.bytes, write.timed] == ([*seen.account, 0] if told else [0, 0, 0])
    assert seen.batches[-1].attributes["io_uring"] == str(program.pid)
    assert seen.sum("read").timed == seen.account[0], "ordinary calls have their times"
