"""Kernels that lack something: the rest is measured, and what is not is named."""

import os
import socket
from collections.abc import Callable

import pytest

from rover_core.errors import RoverError
from rover_network.counter import NetworkCounter
from rover_network.diagnosis import diagnose
from rover_network.probes import DESTROYED, ENTRY, EXIT, OTHERS, RECEIVED, RECEIVED_DROPS, SENT

pytestmark = pytest.mark.kernel


def talk(counter: NetworkCounter) -> tuple[int, int, int]:
    """(calls, of which timed, bytes) counted of 20 messages of 5 bytes."""
    counter.watch([os.getpid()])
    here, there = socket.socketpair()
    with here, there:
        for _ in range(20):
            here.send(b"hello")
    write = counter.collect().rows["sums"][:, 0]
    timed = int(write["histogram"].sum())
    return timed + int(write["untimed"].sum()), timed, int(write["bytes"].sum())


def tells_lengths() -> bool:
    with NetworkCounter() as counter:
        return counter.probes.lengths


def test_everything_is_measured_here(record_property: Callable[[str, object], None]) -> None:
    """Broken: on the kernel it is made for, something cannot be attached."""
    with NetworkCounter() as counter:
        tells_drops = "rover_on_freed" in {each.function for each in counter.probes.attachments}
        record_property("network", "`, `".join(counter.probes.label.split(", ")))
        assert set(counter.probes.missing) == (set() if tells_drops else {RECEIVED_DROPS}), "since 6.11"
        assert talk(counter) == (20, 20, 100)


def test_without_system_calls_there_are_no_times() -> None:
    """Broken: one probe that is refused takes the others along, or nobody is told which it was."""
    if not tells_lengths():
        pytest.skip("before 6.3 there is nothing without system calls")
    with NetworkCounter(without=(ENTRY, *OTHERS)) as counter:
        assert set(counter.probes.missing) == {ENTRY.purpose, RECEIVED_DROPS, *(plan.purpose for plan in OTHERS)}
        assert talk(counter) == (20, 0, 100)


def test_without_anything_to_count_by_there_is_one_sentence() -> None:
    """Broken: a task runs and shows zeros."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(RoverError, match="not possible here"):
        NetworkCounter(without=(SENT, RECEIVED, EXIT, ENTRY, DESTROYED))
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_doctor_knows() -> None:
    """Broken: `rover doctor` says nothing of network profiling."""
    line, *others = diagnose()
    assert line.health == "ok"
    assert all(RECEIVED_DROPS in other.name for other in others)
    assert "sys_exit" in line.detail
