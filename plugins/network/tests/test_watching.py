"""Requests added up for who watches them: in a worker, in what it says, and on the kernel."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from https import BLOCKING, TlsNginx, make_certificate
from nginx import Nginx, free_port
from programs import go

from rover_core import procfs
from rover_core.api import RequestSums, RequestWatch
from rover_core.errors import RoverError
from rover_core.model import Task
from rover_core.policies import Uri
from rover_core.wire import Exchange, Message
from rover_http1.plugin import rover_protocols
from rover_network.profiler import NetworkProfiler, create
from rover_network.settings import NetworkSettings
from rover_network.streams import Spoken
from rover_network.tls.openssl import OpenSsl
from rover_network.watching import RequestWatcher, sums_read, watches_told

SECOND = 1_000_000_000
HTTP, OTHER = 3, 4
EVERY, A, API = Uri(), Uri(path="/a.b"), Uri(regex="^/api/")


def path(exchange: Any) -> str:
    return exchange.operation.partition(" ")[2]  # type: ignore[no-any-return]


SPOKEN = Spoken(None, None, {}, subject=path)  # type: ignore[arg-type]


def offer(
    watcher: RequestWatcher, path: str, status: str = "200", at_s: float = 5.0, ms: int = 1, **more: Any
) -> None:
    start_ns = round(at_s * SECOND)
    request = Message(start_ns, start_ns, 10, True, None)
    response = Message(start_ns, start_ns + ms * 1_000_000, 10, True, None) if more.get("answered", True) else None
    exchange = Exchange("GET", f"GET {path}", status, status >= "5", request, response)
    watcher.offer(exchange, more.get("pid", 7), more.get("client", 0), more.get("number", HTTP), SPOKEN)


def taken(watcher: RequestWatcher) -> dict[tuple[str, int, int], tuple[int, int, int]]:
    """By URI, pid and second: requests, errors and ms."""
    rows = sums_read(json.loads(json.dumps(watcher.take())))
    return {(r.uri.label, r.pid, r.second): (r.requests, r.errors, r.duration_ns // 1_000_000) for r in rows}


@pytest.fixture
def watcher() -> RequestWatcher:
    watcher = RequestWatcher()
    wanted = [
        RequestWatch(A, frozenset({7})),
        RequestWatch(API, frozenset({7, 8})),
        RequestWatch(EVERY, frozenset({8})),
    ]
    watcher.assign(json.loads(json.dumps(watches_told(wanted, {"http1": HTTP}))), alone=True)
    return watcher


def test_requests_are_added_up_by_the_second_in_which_they_begin(watcher: RequestWatcher) -> None:
    """Broken: errors and times are those of other seconds, URIs or processes."""
    for at_s, status, ms in ((5.0, "200", 10), (5.9, "500", 2000), (6.0, "503", 1)):
        offer(watcher, "/a.b", status, at_s, ms)
    offer(watcher, "/api/x", "404", pid=8)
    assert taken(watcher) == {
        ("/a.b", 7, 5): (2, 1, 2010),
        ("/a.b", 7, 6): (1, 1, 1),
        ("^/api/", 8, 5): (1, 0, 1),
        ("global", 8, 5): (1, 0, 1),
    }
    assert taken(watcher) == {}, "told but once"


def test_what_nobody_watches_is_not_added_up(watcher: RequestWatcher) -> None:
    """Broken: a path is an expression or a prefix, or what a process asks of others counts as asked of it."""
    for target in ("/axb", "/a.b/c", "/", "/v1/api/"):
        offer(watcher, target)
    offer(watcher, "/a.b", client=1)
    offer(watcher, "/a.b", number=OTHER)
    offer(watcher, "/a.b", pid=9)
    offer(watcher, "/a.b", answered=False)
    assert taken(watcher) == {}


def test_memory_is_bounded_and_what_there_is_no_room_for_is_counted(watcher: RequestWatcher) -> None:
    """Broken: a scan of a million paths, or a clock that runs wild, takes the worker's memory."""
    for number in range(30_000):
        offer(watcher, f"/api/{number}", at_s=number)
    assert watcher.lost == 10_000
    assert len(watcher._known) <= 1024
    assert len(taken(watcher)) == 20_000
    assert watcher.lost == 0


@pytest.mark.parametrize(
    "rows",
    [7, [7], [[]], [["/", "", 1, 2, 3, 4]], [["/", 7, 1, 2, 3, 4, 5]], [["/", "", -1, 2, 3, 4, 5]],
     [["/", "", 1, 2, 3, 4, 1 << 70]], [["/" * 10_000, "", 1, 2, 3, 4, 5]], [["/", "", 1, 2, 3, 4, "x"]]],
)  # fmt: skip
def test_what_a_worker_says_is_checked(rows: Any) -> None:
    """Broken: a worker that a stranger has taken over writes what it likes into the agent's windows."""
    with pytest.raises(ValueError, match=r"not|no sums"):
        sums_read(rows)


@pytest.fixture(scope="module")
def profiler() -> Iterator[NetworkProfiler]:
    """One for all, as in an agent. What one test leaves being watched saves the next one loading it again."""
    profiler = create(NetworkSettings(), protocols=rover_protocols, tls_libraries=lambda: [OpenSsl()])
    yield profiler
    profiler.close()


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    server = Nginx(tmp_path)
    yield server
    server.process.terminate()
    server.process.wait(timeout=20)


def ask(nginx: Nginx, *paths: str) -> None:
    curl(*(f"http://127.0.0.1:{nginx.port}{path}" for path in paths))


def curl(*arguments: str) -> None:
    subprocess.run(["curl", "-s", "-m", "60", *arguments], check=True, timeout=90, stdout=subprocess.DEVNULL)


def observed(profiler: NetworkProfiler, watches: list[RequestWatch], expected: int) -> list[RequestSums]:
    """What is seen until so many requests were."""
    sums: list[RequestSums] = []
    until_s = time.monotonic() + 30
    while sum(each.requests for each in sums) < expected and time.monotonic() < until_s:
        seen = profiler.observe(watches)
        assert not seen.lost
        sums += seen.sums
        time.sleep(0.1)
    return sums


def by_uri(sums: list[RequestSums]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for each in sums:
        requests, errors = found.get(each.uri.label, (0, 0))
        found[each.uri.label] = requests + each.requests, errors + each.errors
    return found


@pytest.mark.kernel
def test_requests_inside_tls_are_watched_too(profiler: NetworkProfiler, tmp_path: Path, start: Any) -> None:
    """Broken: what is asked over HTTPS counts for nothing, or only where the library was loaded before it was
    watched."""
    make_certificate(tmp_path)
    nginx, port = TlsNginx(tmp_path), free_port()
    python = start(sys.executable, "-c", f"input()\n{BLOCKING}", str(tmp_path), str(port))
    try:
        profiler.observe([])  # nor is any process's library known
        watches = [RequestWatch(Uri(path=path), frozenset({python.pid})) for path in ("/x500", "/x404")]
        profiler.observe(watches)
        go(python)
        assert python.stdout.readline() == "ready\n"
        profiler.observe(watches)
        curl("-k", "--http1.1", *(f"https://127.0.0.1:{port}/{path}" for path in ("x500", "x404", "x500")))
        assert by_uri(observed(profiler, watches, 3)) == {"/x500": (2, 2), "/x404": (1, 0)}
        watches = [RequestWatch(Uri(path="/absent"), frozenset({nginx.process.pid}))]
        profiler.observe(watches)
        curl("-k", "--http1.1", f"https://127.0.0.1:{nginx.port}/absent")
        assert by_uri(observed(profiler, watches, 1)) == {"/absent": (1, 0)}
    finally:
        nginx.close()


@pytest.mark.kernel
def test_a_web_servers_requests_are_those_of_its_log(profiler: NetworkProfiler, nginx: Nginx) -> None:
    """Broken: errors or times that continuous profiling compares are not the server's; a task beside it sees less,
    or watching ends with the task; what was loaded stays when nobody watches."""
    pid = frozenset({nginx.process.pid})
    uris = (Uri(path="/broken"), Uri(path="/slowly"), Uri(regex="^/(page|absent)$"))
    watches = [RequestWatch(uri, pid) for uri in uris]
    profiler.observe(watches)
    ask(nginx, "/broken?a=1", "/page", "/broken", "/absent", "/other", "/slowly")
    sums = observed(profiler, watches, 5)
    assert by_uri(sums) == {"/broken": (2, 2), "/slowly": (1, 0), "^/(page|absent)$": (2, 0)}
    (slow,) = (each for each in sums if each.uri.path == "/slowly")
    (logged_s,) = (seconds for operation, _, seconds in nginx.requests() if operation == "GET /slowly")
    assert slow.duration_ns / SECOND == pytest.approx(logged_s, abs=0.25)
    assert abs(slow.second - time.monotonic()) < 60, "of this clock"

    process = procfs.read_process(nginx.process.pid)
    assert process is not None
    profiler.start(Task("beside", "NETWORK", (process.key,)), [process])
    ask(nginx, "/broken", "/page")
    assert by_uri(observed(profiler, watches, 2)) == {"/broken": (1, 1), "^/(page|absent)$": (1, 0)}
    last = profiler.stop("beside")
    assert last is not None
    assert {each.key.operation: each.exchanges for each in last.operations} == {"GET /broken": 1, "GET /page": 1}

    ask(nginx, "/broken")
    assert by_uri(observed(profiler, watches[:1], 1)) == {"/broken": (1, 1)}, "it goes on without the task"
    assert profiler.workers
    assert profiler.observe([]).sums == ()
    assert not profiler.workers


@pytest.mark.kernel
def test_what_cannot_be_watched_is_said_and_leaves_nothing(profiler: NetworkProfiler) -> None:
    """Broken: a policy on requests is silently never heeded, or what was loaded for it stays."""
    watch = RequestWatch(EVERY, frozenset({1}), protocol="gopher")
    with pytest.raises(RoverError, match="no plugin reads gopher"):
        profiler.observe([watch])
    assert not profiler.workers
