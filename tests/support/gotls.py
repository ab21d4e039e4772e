"""The Go program of plugins/network/tests/gotls, its own account, and what a profiler saw of it."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

from programs import go, line, process_of

from rover_core.model import Loss, Operation, Task, Telemetry
from rover_network.profiler import NetworkProfiler

SOURCE = Path(__file__).parents[2] / "plugins/network/tests/gotls/main.go"

Exchanges = Counter[tuple[str, str]]


def account(server: "Popen[str]") -> Exchanges:
    """(operation, status) of each request it has answered."""
    go(server)
    counts: Exchanges = Counter()
    for text, count in json.loads(line(server)).items():
        operation, _, status = text.rpartition(" ")
        counts[operation, status] = count
    return counts


@contextmanager
def running(*command: object, **environment: str) -> "Iterator[Popen[str]]":
    with Popen(
        [str(each) for each in command], stdin=PIPE, stdout=PIPE, text=True, env={**os.environ, **environment}
    ) as program:
        try:
            yield program
        finally:
            program.kill()


class Seen:
    """Of one task."""

    def __init__(self, telemetry: Telemetry) -> None:
        self.telemetry = telemetry

    def of(self, program: "Popen[str]", role: str) -> list[Operation]:
        keys = [(each, each.key.flow) for each in self.telemetry.operations]
        return [each for each, flow in keys if (flow.process.pid, flow.role) == (program.pid, role)]

    def exchanges(self, program: "Popen[str]", role: str) -> Exchanges:
        counts: Exchanges = Counter()
        for each in self.of(program, role):
            counts.update({(each.key.operation, status): count for status, count in each.statuses.items()})
        return counts

    def paired(self, program: "Popen[str]", role: str) -> int:
        """How many exchanges had both halves."""
        return sum(each.durations.count for each in self.of(program, role))

    def sizes(self, program: "Popen[str]", role: str, operation: str) -> tuple[float, float]:
        """Bytes of requests and of responses."""
        found = [each for each in self.of(program, role) if each.key.operation == operation]
        return sum(each.request_sizes.total for each in found), sum(each.response_sizes.total for each in found)

    def peers(self, program: "Popen[str]", role: str) -> set[int]:
        """Pids of the other ends."""
        processes = [each.key.flow.peer.process for each in self.of(program, role)]
        return {each.pid for each in processes if each}

    @property
    def lost(self) -> "Counter[Loss]":
        return Counter(self.telemetry.completeness.lost)


def seen_of(profiler: NetworkProfiler, programs: "list[Popen[str]]", work: Callable[[], None]) -> Seen:
    """What a task sees of programs while this is done."""
    processes = [process_of(each) for each in programs]
    profiler.start(Task("test", "NETWORK", tuple(each.key for each in processes)), processes)
    try:
        work()
    finally:
        telemetry = profiler.stop("test")
    assert telemetry is not None
    return Seen(telemetry)
