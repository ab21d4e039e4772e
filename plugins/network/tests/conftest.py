"""A profiler, and what it saw of a program whose own account is known."""

import sys
from collections.abc import Callable, Iterator
from subprocess import Popen
from typing import NamedTuple

import pytest
from programs import Script, go, process_of

from rover_core.model import Figure, Flow, Task, Telemetry
from rover_network.flows import merge_flows
from rover_network.profiler import NetworkProfiler, create
from rover_network.settings import NetworkSettings

Watch = Callable[["Popen[str]"], "Seen"]


class Seen(NamedTuple):
    """What the profiler saw of a program, and the line that the program printed."""

    flows: list[Flow]
    batches: list[Telemetry]
    account: list[int]

    def sum(self, name: str) -> Figure:
        """Of all flows."""
        return sum((flow.figures[name] for flow in self.flows if name in flow.figures), Figure())


@pytest.fixture(scope="module")
def profiler() -> Iterator[NetworkProfiler]:
    """One for all tests of a module, as in an agent. A task of its own keeps the program loaded."""
    profiler = create(NetworkSettings())
    profiler.start(Task("always", "NETWORK", ()), [])
    yield profiler
    profiler.close()


@pytest.fixture
def script(start: Script) -> Script:
    """script(text, *arguments): Python with pipes for standard input and output, ended with the test."""
    return lambda text, *arguments: start(sys.executable, "-c", text, *arguments)


@pytest.fixture
def watch(profiler: NetworkProfiler) -> Watch:
    """watch(program): tells it to go, and waits for its account."""

    def run(program: "Popen[str]") -> Seen:
        process = process_of(program)
        profiler.start(Task("test", "NETWORK", (process.key,)), [process])
        go(program)
        assert program.stdout is not None
        account = [int(number) for number in program.stdout.readline().split()]
        batches = [each for each in profiler.drain() if each.task_id == "test"]
        last = profiler.stop("test")
        assert last is not None
        batches.append(last)
        return Seen(list(merge_flows(flow for each in batches for flow in each.flows).values()), batches, account)

    return run
