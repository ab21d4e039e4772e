"""Go's own web server and client over TLS get the same layer 7 as without, in whatever form they were built."""

import os
import random
import shutil
import subprocess
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from end_to_end import until
from golang import build_go, go_setting
from golayouts import ALL, layout_of
from gotls import SOURCE, Exchanges, Seen, account, line, running, seen_of
from https import TlsNginx, make_certificate
from programs import go

from rover_core.model import Task
from rover_http1.plugin import rover_protocols as http1
from rover_http2.plugin import rover_protocols as grpc
from rover_network.profiler import NetworkProfiler, create
from rover_network.settings import NetworkSettings, ProtocolAnalyzeSettings
from rover_network.tls import go as module
from rover_network.tls.go import GoTls

pytestmark = pytest.mark.kernel

MODULES = [f"module{letter}" for letter in "abcdefgh"]
KINDS = ("info", "mod", "zip")
# The last of each; of the newest, what is installed.
RELEASES = ("go1.17.13", "go1.18.10", "go1.19.13", "go1.20.14", "go1.21.13", "go1.22.12", "go1.23.12", "go1.24.11")
RELEASES += ("go1.25.5",)
FORMS = {"plain": (), "stripped": ("-ldflags=-s -w",)}
Built = Callable[[str], Path]


@pytest.fixture(scope="module")
def profiler() -> Iterator[NetworkProfiler]:
    """One for all. A task of its own keeps the program loaded, and the probes of files that were found."""
    made = create(
        NetworkSettings(),
        ProtocolAnalyzeSettings(per_cpu_buffer=8 << 20),
        lambda: [*http1(), *grpc()],
        tls_libraries=lambda: [GoTls()],
    )
    made.start(Task("always", "NETWORK", ()), [])
    yield made
    made.close()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """built("stripped") is the program in that form."""
    folder = tmp_path_factory.mktemp("go")

    def build(form: str) -> Path:
        program = folder / form
        return program if program.exists() else build_go(SOURCE, program, *FORMS[form])

    return build


def assert_all_is_seen(profiler: NetworkProfiler, program: Path, how: str = "", processors: int = 2) -> None:
    """Of 64 connections that are open when the task begins, and of 64 that come and go; in HTTP/2, of 32 and 32.

    how: the server is told.
    """
    connections, requests, http2 = 64, 5, how == "http2"
    asking, closed = ("http2", 0) if http2 else ("ask", connections)
    with running(program, "serve", *how.split(), GOMAXPROCS=str(processors)) as server:
        port = line(server)
        with running(program, asking, port, connections, requests, GOMAXPROCS=str(processors)) as client:
            assert line(client) == "ready"
            before = account(server)

            after: Exchanges = Counter()

            def work() -> None:
                go(client)
                assert line(client) == f"done {closed}", "each closed connection was by a resumed session"
                after.update(account(server))
                if http2:  # a stream is over before the Write of its last frame has returned
                    time.sleep(0.2)

            seen = seen_of(profiler, [server, client], work)
    expected = after - before
    numbers = {(f"GET /id-{number}", str(200 + number % 700)): 1 for number in range(connections * requests)}
    others = {"GET /large": 1, "POST /orders": 1, "GET /open" if http2 else "GET /closed": connections}
    assert expected == Counter(numbers | {(operation, "200"): count for operation, count in others.items()})
    if http2:  # clients have said that path before, and say its number alone
        expected["GET /open", "200"] = expected["GET ?", "200"] = connections // 2
    for each, role, peer in ((server, "server", client), (client, "client", server)):
        assert seen.exchanges(each, role) == expected
        assert seen.paired(each, role) == expected.total()
        assert seen.peers(each, role) == {peer.pid}
        assert 3_000_000 < seen.sizes(each, role, "GET /large")[1] < 3_000_300 + 10_000 * http2
        assert 100_000 < seen.sizes(each, role, "POST /orders")[0] < 100_300
        assert all(operation.ssl for operation in seen.of(each, role))
    assert not seen.lost
    assert seen.telemetry.steps["TLS calls, socket not known"] == 0
    # A listener's, whose queue was full for a moment, has nothing but drops.
    assert [flow for flow in seen.telemetry.flows if flow.figures and not flow.ssl] == []


def test_requests_and_answers_of_goroutines(profiler: NetworkProfiler, built: Built) -> None:
    """Broken: requests are missed, doubled or answered by others' answers; sessions that were open, or waited, when
    the task began, or that were resumed, are not read."""
    assert_all_is_seen(profiler, built("plain"))


def test_streams_of_http2(profiler: NetworkProfiler, built: Built) -> None:
    """Broken: HTTP/2 that Go's server and client agree on is not read, or streams at the same time are mixed up; of
    connections that were open before, the first requests are missed."""
    assert_all_is_seen(profiler, built("plain"), "http2")


def test_stripped_on_one_thread(profiler: NetworkProfiler, built: Built) -> None:
    """Broken: goroutines of one thread are mixed up; stripped programs, or connections inside a program's own type,
    are not read."""
    assert_all_is_seen(profiler, built("stripped"), "wrapped", processors=1)


@pytest.mark.parametrize("kept", [True, False])
def test_a_buffer_on_a_stack_that_is_moved(
    profiler: NetworkProfiler, built: Built, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: Read's goroutine gets its stack moved while it waits, and what is read is not what was received; or
    nothing is read of programs whose compiler keeps arguments elsewhere."""
    program = tmp_path / "moved"
    shutil.copy(built("stripped"), program)  # another file: probed anew
    if not kept:
        points = module.probe_points
        monkeypatch.setattr(
            module, "probe_points", lambda *a: {name: replace(each, keeps=False) for name, each in points(*a).items()}
        )
    with running(program, "serve") as server, running(program, "stack", line(server)) as client:
        assert line(client) == "ready"

        def work() -> None:
            go(client)
            assert line(client) == "done 0"
            account(server)  # it has written all

        seen = seen_of(profiler, [server, client], work)
    assert seen.exchanges(client, "client") == {("GET /id-3", "203"): 3}
    # The server waited for the first request before it was watched: nothing is known of what it waited with.
    first = ("GET /id-3", "203") if kept else ("", "203")
    assert seen.exchanges(server, "server") == Counter([first, ("GET /id-3", "203"), ("GET /id-3", "203")])


def test_a_write_that_begins_anew_is_told_once(profiler: NetworkProfiler, built: Built) -> None:
    """Broken: what is written where a stack must grow first, or a goroutine is to give way, is there twice."""
    with running(built("plain"), "serve") as server, running(built("plain"), "full", line(server)) as client:
        assert line(client) == "ready"

        def work() -> None:
            go(client)
            assert line(client) == "done 0"

        seen = seen_of(profiler, [server, client], work)
    assert seen.exchanges(client, "client") == {(f"GET /id-{level}", str(200 + level)): 1 for level in range(64)}


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[TlsNginx]:
    """A web server with modules of Go."""
    for name in MODULES:
        folder = tmp_path / f"example.com/{name}/@v"
        folder.mkdir(parents=True)
        (folder / "v1.0.0.info").write_text('{"Version": "v1.0.0"}')
        (folder / "v1.0.0.mod").write_text(f"module example.com/{name}\n")
        with zipfile.ZipFile(folder / "v1.0.0.zip", "w") as content:
            content.writestr(f"example.com/{name}@v1.0.0/go.mod", f"module example.com/{name}\n")
            content.writestr(f"example.com/{name}@v1.0.0/large", random.Random(7).randbytes(200_000))
    make_certificate(tmp_path, "-addext", "subjectAltName=DNS:localhost")
    server = TlsNginx(tmp_path)
    yield server
    server.close()


def test_the_go_command(profiler: NetworkProfiler, proxy: TlsNginx, tmp_path: Path) -> None:
    """Broken: a Go program that nobody here wrote, built as it comes, is not read."""
    environment = {"GOENV": "off", "GOTOOLCHAIN": "local", "GOFLAGS": "-modcacherw", "GOSUMDB": "off"}
    environment |= {"GOPROXY": f"https://localhost:{proxy.port}", "SSL_CERT_FILE": str(tmp_path / "certificate")}
    command = ["go", "mod", "download", *(f"example.com/{name}@v1.0.0" for name in MODULES)]
    with ExitStack() as stack:
        caches = [{**environment, "GOMODCACHE": str(tmp_path / f"cache{number}")} for number in range(2)]
        held = ("sh", "-c", 'echo ready; read _; exec "$0" "$@"', *command)
        programs = [stack.enter_context(running(*held, **each)) for each in caches]

        def work() -> None:
            for program in programs:  # the first one makes the file known, which is then probed
                assert line(program) == "ready"
                go(program)
                until(lambda program=program: profiler.tick() or program.poll() is not None)  # type: ignore[misc]
                assert program.returncode == 0

        seen = seen_of(profiler, programs, work)
    program = programs[1]
    expected = Counter((f"GET /example.com/{name}/@v/v1.0.0.{kind}", "200") for name in MODULES for kind in KINDS)
    assert Counter(proxy.requests()) == expected + expected
    expected = Counter((name.replace("@v", "{}"), status) for name, status in expected)
    assert seen.exchanges(program, "client") == expected
    assert seen.paired(program, "client") == expected.total()
    for name in MODULES:
        assert 200_000 < seen.sizes(program, "client", f"GET /example.com/{name}/{{}}/v1.0.0.zip")[1] < 201_000


def test_a_program_that_cannot_be_probed(profiler: NetworkProfiler, built: Built, tmp_path: Path) -> None:
    """Broken: a program of a release whose calls are other ones is read wrongly, stops others, or nobody is told."""
    program = tmp_path / "old"
    content = built("stripped").read_bytes()
    version = go_setting("GOVERSION")
    older = "go1.16.9".ljust(len(version), "1")
    assert content.count(version.encode()) > 0
    program.write_bytes(content.replace(version.encode(), older.encode()))
    program.chmod(0o755)
    with running(program, "serve") as server, running(program, "ask", line(server), 1, 2) as client:
        assert line(client) == "ready"

        def work() -> None:
            go(client)
            assert line(client) == "done 1"

        seen = seen_of(profiler, [server, client], work)
    assert not seen.telemetry.operations
    said = seen.telemetry.attributes["TLS not read"]
    assert str(program) in said
    assert f"{older} passes arguments on the stack" in said
    # That it is encrypted is seen all the same.
    assert {flow.ssl for flow in seen.telemetry.flows if flow.figures} == {True}


def test_the_offsets_are_those_of_this_release(built: Built) -> None:
    """Broken: what is taken for a socket's descriptor is something else."""
    assert layout_of(built("plain")) == ALL


@pytest.mark.servers
@pytest.mark.parametrize("release", RELEASES)
def test_releases(profiler: NetworkProfiler, release: str, tmp_path: Path) -> None:
    """Broken: of programs of this release nothing is read, or something else."""
    plain = build_go(SOURCE, tmp_path / "plain", release=release)
    assert layout_of(plain) == ALL
    assert_all_is_seen(profiler, plain)
    assert_all_is_seen(profiler, plain, "http2")
    stripped = build_go(SOURCE, tmp_path / "stripped", *FORMS["stripped"], "-buildmode=pie", release=release)
    assert_all_is_seen(profiler, stripped, "wrapped", processors=1)


@pytest.mark.servers
def test_a_load_generator(profiler: NetworkProfiler, proxy: TlsNginx, tmp_path: Path) -> None:
    """Broken: of a program that others wrote not all is read when it asks as fast as it can."""
    tools = {**os.environ, "GOBIN": str(tmp_path), "GOENV": "off", "GOPROXY": go_setting("GOPROXY")}
    subprocess.run(["go", "install", "github.com/rakyll/hey@v0.1.4"], check=True, env=tools, timeout=300)
    load = [tmp_path / "hey", "-n", "3000", "-c", "50", f"https://127.0.0.1:{proxy.port}/page"]
    profiler.start(Task("test", "NETWORK", ()), None)
    with running(*load[:1], "-n", "50", *load[3:]) as first:  # makes it known
        until(lambda: profiler.tick() or first.poll() is not None)
    before = len(proxy.requests())
    with running(*load) as program:
        until(lambda: profiler.tick() or program.poll() is not None)
    telemetry = profiler.stop("test")
    assert telemetry is not None
    seen = Seen(telemetry)
    assert Counter(proxy.requests()[before:]) == {("GET /page", "200"): 3000}
    assert seen.exchanges(program, "client") == {("GET /page", "200"): 3000}
    assert seen.paired(program, "client") == 3000
    assert not seen.lost
