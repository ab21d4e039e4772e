"""Programs that speak TLS, and what a profiler saw of each."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

from nginx import free_port
from programs import go, process_of

from rover_core.api import TlsLibrary
from rover_core.flows import add_operations
from rover_core.model import Loss, Operation, OperationKey, Task, Telemetry
from rover_http1.plugin import rover_protocols as http1
from rover_http2.plugin import rover_protocols as http2
from rover_network.profiler import NetworkProfiler, create
from rover_network.settings import NetworkSettings

Exchanges = Counter[tuple[str, str]]


class Watched:
    """What a task has seen so far."""

    def __init__(
        self, profiler: NetworkProfiler, processes: "list[Popen[str]]", settings: Mapping[str, object]
    ) -> None:
        self._profiler = profiler
        self.operations: dict[OperationKey, Operation] = {}
        self.batches: list[Telemetry] = []
        found = [process_of(each) for each in processes]
        profiler.start(Task("test", "NETWORK", tuple(each.key for each in found), settings=settings), found)

    def take(self) -> None:
        self._profiler.tick()
        self._keep(*(each for each in self._profiler.drain() if each.task_id == "test"))

    def _keep(self, *batches: Telemetry) -> None:
        self.batches += batches
        for each in batches:
            add_operations(each.operations, self.operations)

    def of(self, pid: int, role: str) -> list[Operation]:
        return [each for key, each in self.operations.items() if (key.flow.process.pid, key.flow.role) == (pid, role)]

    def exchanges(self, pid: int, role: str) -> Exchanges:
        """How many of each operation, without its query, and status."""
        counts: Exchanges = Counter()
        for each in self.of(pid, role):
            name = each.key.operation.partition("?")[0]
            counts.update({(name, status): count for status, count in each.statuses.items()})
        return counts

    def wait(self, pid: int, role: str, count: int) -> Exchanges:
        """Until so many are seen, or it is clear that they are not; and for what should not come."""
        for _ in range(40):
            time.sleep(0.05)
            self.take()
            if sum(self.exchanges(pid, role).values()) >= count:
                break
        return self.exchanges(pid, role)

    def stop(self) -> None:
        last = self._profiler.stop("test")
        assert last is not None
        self._keep(last)

    def lost(self) -> "Counter[Loss]":
        total: Counter[Loss] = Counter()
        for each in self.batches:
            total.update(each.completeness.lost)
        return total


Watch = Callable[..., Watched]


@contextmanager
def reading_tls(libraries: Sequence[TlsLibrary]) -> Iterator[NetworkProfiler]:
    """A task of its own keeps the program loaded, and the probes of files that were found."""
    made = create(NetworkSettings(), protocols=lambda: [*http1(), *http2()], tls_libraries=lambda: libraries)
    made.start(Task("always", "NETWORK", ()), [])
    yield made
    made.close()


@contextmanager
def watching_tasks(profiler: NetworkProfiler) -> Iterator[Watch]:
    """What begins a task, which ends with the context if it has not ended before."""
    running: list[Watched] = []

    def begin(processes: "list[Popen[str]]", **settings: object) -> Watched:
        running.append(Watched(profiler, processes, settings))
        return running[-1]

    yield begin
    for each in running:
        profiler.stop("test") if not each.batches or not each.batches[-1].last else None


def ready(program: "Popen[str]") -> "Popen[str]":
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    return program


def held(start: Callable[..., "Popen[str]"], *command: str, library: object = "") -> "Popen[str]":
    """Becomes the command once it is told to go. So it can be watched, and nobody else need be.

    library: is in its memory from the begin, in front of others.
    """
    first = ["env", f"LD_PRELOAD={library}"] if library else []
    return ready(start(*first, "sh", "-c", 'echo ready; read _; exec "$0" "$@" >/dev/null 2>&1', *command))


def said(program: "Popen[str]") -> list[int]:
    """What it says once it was told to go."""
    go(program)
    assert program.stdout is not None
    return [int(word) for word in program.stdout.readline().split()]


def scripts(folder: Path, text: str, name: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def peers(operations: list[Operation]) -> set[int]:
    return {each.key.flow.peer.process.pid for each in operations if each.key.flow.peer.process}


def assert_nothing_is_mixed_up(watch: Watch, start, folder: Path, server: list[str], client: list[str]) -> None:  # type: ignore[no-untyped-def]
    """Of 64 requests at a time. server, client: a program, and the text of the script that it runs."""
    port, rounds = free_port(), 5
    first = ready(start(server[0], scripts(folder, server[1], "server"), str(folder), str(port)))
    second = ready(start(client[0], scripts(folder, client[1], "client"), str(port), str(rounds)))
    seen = watch([first, second])
    assert said(second) == [64 * rounds]
    expected = Counter({(f"GET /id{number}", "200"): 1 for number in range(64 * rounds)})
    for process, role in ((first, "server"), (second, "client")):
        assert seen.wait(process.pid, role, 64 * rounds) == expected
        for each in seen.of(process.pid, role):
            number = int(each.key.operation.partition("?")[0].removeprefix("GET /id"))
            assert 1000 + number < each.response_sizes.total < 1300 + number, "the answer is that to this request"
        assert all(each.ssl for each in seen.of(process.pid, role))
    assert peers(seen.of(first.pid, "server")) == {second.pid}
    assert peers(seen.of(second.pid, "client")) == {first.pid}
    assert not seen.lost()
