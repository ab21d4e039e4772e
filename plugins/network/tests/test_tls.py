"""Encrypted connections of programs that nobody here wrote get the same layer 7 as plain ones."""

import site
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
from end_to_end import until
from https import (
    ASYNCIO,
    ASYNCIO_CLIENT,
    BLOCKING,
    BLOCKING_CLIENT,
    CROSSWISE,
    NODE,
    NODE_CLIENT,
    NODE_HTTP2,
    NODE_HTTP2_CLIENT,
    TlsNginx,
    make_certificate,
)
from nginx import free_port
from programs import go
from tlswatching import (
    Exchanges,
    Watch,
    Watched,
    assert_nothing_is_mixed_up,
    held,
    peers,
    reading_tls,
    ready,
    said,
    scripts,
    watching_tasks,
)

from rover_core.api import Health, TlsLibrary
from rover_core.model import Loss, SampledMessage
from rover_network.diagnosis import diagnose_tls
from rover_network.flows import merge_flows
from rover_network.profiler import NetworkProfiler
from rover_network.rules import parse_rules
from rover_network.tls.openssl import OpenSsl

pytestmark = pytest.mark.kernel


def documented() -> list[TlsLibrary]:
    """The library that docs/hooks.md makes known, by the text that stands there."""
    text = (Path(__file__).parents[3] / "docs" / "hooks.md").read_text()
    (example,) = [part.partition("```")[0] for part in text.split("```python\n") if "def rover_tls_libraries" in part]
    names: dict[str, Any] = {}
    exec(example, names)
    libraries: list[TlsLibrary] = names["rover_tls_libraries"]()
    return libraries


@pytest.fixture(scope="module")
def profiler() -> Iterator[NetworkProfiler]:
    """One for all."""
    with reading_tls([OpenSsl(), *documented()]) as made:
        yield made


@pytest.fixture
def watch(profiler: NetworkProfiler) -> Iterator[Watch]:
    with watching_tasks(profiler) as begin:
        yield begin


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls")
    make_certificate(made)
    return made


@pytest.fixture(scope="module")
def nginx(folder: Path) -> Iterator[TlsNginx]:
    server = TlsNginx(folder)
    yield server
    server.close()


def test_curl_and_nginx_agree_with_the_log(watch: Watch, start, nginx: TlsNginx) -> None:  # type: ignore[no-untyped-def]
    """Broken: requests over TLS 1.2 or 1.3 are missed or doubled, or a large response of many records has another
    size; encrypted bytes are taken for plain ones, or counted twice."""
    base, before = f"https://127.0.0.1:{nginx.port}", len(nginx.log.read_text().splitlines())
    asking = [
        held(start, "curl", "-sk", "--http1.1", *options)
        for options in (
            [f"{base}/page", f"{base}/large", f"{base}/absent", f"{base}/page"],
            ["--tls-max", "1.2", f"{base}/page", f"{base}/large"],
            ["-X", "POST", "-d", "x" * 50_000, f"{base}/page"],
        )
    ]
    seen = watch([nginx.process, *asking])
    for curl in asking:
        go(curl)
        assert curl.wait(30) == 0
    curls = [curl.pid for curl in asking]
    served = seen.wait(nginx.process.pid, "server", 7)
    seen.stop()
    logged = Counter(nginx.requests()[before:])
    assert served == logged
    asked: Exchanges = sum((seen.exchanges(pid, "client") for pid in curls), Counter())
    assert asked == logged
    operations = seen.of(nginx.process.pid, "server")
    assert all(each.ssl for each in operations)
    assert peers(operations) == set(curls)
    (large,) = [
        each
        for each in operations
        if each.key.operation == "GET /large" and each.key.flow.peer.process.pid == curls[1]
    ]
    assert 3_000_000 < large.response_sizes.total < 3_001_000
    flows = merge_flows(flow for batch in seen.batches for flow in batch.flows).values()
    flows = [flow for flow in flows if flow.key.transport == "tcp"]
    mine = [flow for flow in flows if flow.key.process.pid == nginx.process.pid]
    theirs = [flow for flow in flows if flow.key.process.pid in curls]
    assert [flow for flow in (*mine, *theirs) if not flow.ssl or flow.protocol != "http"] == []
    sent = sum(flow.figures["write"].bytes for flow in mine)
    assert sent == sum(flow.figures["read"].bytes for flow in theirs), "layer 4 counts the encrypted bytes, once"
    assert 6_000_000 < sent < 6_200_000
    assert not seen.lost()


def in_kernel(seen: Watched) -> int:
    return sum(batch.steps.get("exchanges counted in the kernel", 0) for batch in seen.batches)


def test_exchanges_are_counted_in_the_kernel_as_without_tls(watch: Watch, start, nginx: TlsNginx) -> None:  # type: ignore[no-untyped-def]
    """Broken: the fast path judges encrypted bytes, or is not taken over TLS, or loses or doubles what it counts; or
    says that it was not encrypted."""
    before = len(nginx.requests())
    curl = held(start, "curl", "-sk", "--http1.1", f"https://127.0.0.1:{nginx.port}/page?n=[1-300]")
    seen = watch([nginx.process, curl])
    go(curl)
    assert curl.wait(30) == 0
    expected = Counter({("GET /page", "200"): 300})
    assert seen.wait(nginx.process.pid, "server", 300) == Counter(nginx.requests()[before:]) == expected
    assert seen.wait(curl.pid, "client", 300) == expected
    seen.stop()
    assert in_kernel(seen) > 500
    for pid, role in ((nginx.process.pid, "server"), (curl.pid, "client")):
        operations = seen.of(pid, role)
        assert all(each.ssl for each in operations)
        assert sum(each.durations.count for each in operations) == 300
        assert 300 * 1400 < sum(each.response_sizes.total for each in operations) < 300 * 1800
    assert not seen.lost()


def test_http2_that_was_agreed_on_in_the_handshake(watch: Watch, start, nginx: TlsNginx) -> None:  # type: ignore[no-untyped-def]
    """Broken: HTTP/2 over TLS is not recognised, or streams of one connection are missed, doubled or cut short."""
    before = len(nginx.requests())
    base = f"https://127.0.0.1:{nginx.http2}"
    curl = held(start, "curl", "-skZ", "--http2", f"{base}/page?n=[1-40]", f"{base}/absent?n=[1-10]", f"{base}/large")
    seen = watch([nginx.process, curl])
    go(curl)
    assert curl.wait(30) == 0
    expected = Counter({("GET /page", "200"): 40, ("GET /absent", "404"): 10, ("GET /large", "200"): 1})
    assert seen.wait(nginx.process.pid, "server", 51) == Counter(nginx.requests()[before:]) == expected
    assert seen.wait(curl.pid, "client", 51) == expected
    assert {text.split()[-1] for text in nginx.log.read_text().splitlines()[before:]} == {"HTTP/2.0"}
    for pid, role in ((nginx.process.pid, "server"), (curl.pid, "client")):
        operations = seen.of(pid, role)
        assert all(each.ssl for each in operations)
        (large,) = [each for each in operations if each.key.operation == "GET /large"]
        assert 3_000_000 < large.response_sizes.total < 3_010_000
    assert not seen.lost()


def total(message: SampledMessage | None) -> tuple[int, int]:
    assert message
    return sum(call.packets for call in message.syscalls), sum(call.packet_bytes for call in message.syscalls)


def size(message: SampledMessage | None) -> int:
    assert message
    return message.size


RECORD = 5 + 1 + 16  # what TLS 1.3 adds to a record: header, type, tag
FINISHED = RECORD + 4 + 48  # with SHA-384
CHANGED = 6  # ChangeCipherSpec
HEADERS = 20 + 32  # IPv4's, and TCP's with timestamps


def test_system_calls_of_sampled_exchanges(watch: Watch, start, folder: Path, nginx: TlsNginx) -> None:  # type: ignore[no-untyped-def]
    """Broken: samples over TLS do not have the system calls that moved them, or have those of others."""
    base = f"https://127.0.0.1:{nginx.port}"
    (folder / "records").write_bytes(b"z" * 100_000)
    curl = held(start, "curl", "-sk", "--http1.1", f"{base}/page", f"{base}/absent", f"{base}/records")
    seen = watch([nginx.process, curl], sampling=parse_rules("slow>0s,4xx,max=1KB"))
    go(curl)
    assert curl.wait(30) == 0
    assert seen.wait(curl.pid, "client", 3).total() == 3
    seen.stop()
    samples = [each for batch in seen.batches for each in batch.samples]
    for path in ("/page", "/absent", "/records"):
        found = {each.flow.role: each.exchange for each in samples if each.exchange.subject == path}
        client, server = found["client"], found["server"]
        asked, answer = size(client.request), size(client.response)
        assert total(client.request) == (1, asked + RECORD + HEADERS)
        received, records = total(client.response)[1] - answer, -(-answer // 16384)
        if path == "/page":  # it may come with the end of the handshake, and its answer behind two tickets
            assert total(server.request)[1] - asked - RECORD in (0, FINISHED, CHANGED + FINISHED)
            assert 2 * 200 < received - RECORD < 2 * 400
        else:
            assert total(server.request) == (1, asked + RECORD)
            assert received in (records * RECORD, (records + 1) * RECORD)
        packets, sent = total(server.response)
        if path != "/records":  # whose packets leave later too, when there is room at the other end
            assert sent - packets * HEADERS - answer in (RECORD, 2 * RECORD)
        assert 0 < sent - packets * HEADERS <= answer + (records + 1) * RECORD
        for message in (client.request, client.response, server.request, server.response):
            assert message
            times = [(call.start_ns, call.end_ns) for call in message.syscalls]
            assert times == sorted(times)
            assert {call.interface for call in message.syscalls} == {"lo"}
    assert not seen.lost()


POSTS = """
import asyncio, ssl, sys
print("ready", flush=True)
sys.stdin.readline()

async def main():
    context, answered = ssl._create_unverified_context(), 0
    for _ in range(4):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]), ssl=context)
        for _ in range(5):
            writer.write(b"POST /page HTTP/1.1\\r\\nHost: h\\r\\nContent-Length: 9000\\r\\n\\r\\n" + 9000 * b"p")
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split()[0]))
            answered += head.startswith(b"HTTP/1.1 405")
        writer.close()
    print(answered, flush=True)

asyncio.run(main())
sys.stdin.readline()
"""


def test_large_requests_that_are_written_before_the_socket_is_known(watch: Watch, start, nginx: TlsNginx) -> None:  # type: ignore[no-untyped-def]
    """Broken: a message of which but the begin could be kept is taken for a shorter one, or spoils the next."""
    client = ready(start(sys.executable, "-c", POSTS, str(nginx.port)))
    seen = watch([client])
    assert said(client) == [20]
    assert seen.wait(client.pid, "client", 20) == {("POST /page", "405"): 20}
    seen.stop()
    operations = seen.of(client.pid, "client")
    assert sum(each.durations.count for each in operations) == 20
    assert 20 * 9000 < sum(each.request_sizes.total for each in operations) < 20 * 9100
    assert not seen.lost()


@pytest.mark.parametrize(
    ("server", "client"),
    [
        ([sys.executable, ASYNCIO], [sys.executable, ASYNCIO_CLIENT]),
        (["node", NODE], [sys.executable, ASYNCIO_CLIENT]),
        (["node", NODE], ["node", NODE_CLIENT]),
        (["node", NODE_HTTP2], ["node", NODE_HTTP2_CLIENT]),
    ],
    ids=["asyncio", "asyncio asks Node", "Node", "Node in HTTP/2"],
)
def test_64_connections_of_one_thread_are_not_mixed_up(
    watch: Watch, start, folder: Path, server: list[str], client: list[str]
) -> None:  # type: ignore[no-untyped-def]
    """Broken: text of one session is taken for another's, whose bytes go through memory and not through a socket; of
    those whose client is asyncio or speaks HTTP/2, also when the sessions were open before the task."""
    assert_nothing_is_mixed_up(watch, start, folder, server, client)


def test_what_cannot_be_told_apart_is_not_guessed(watch: Watch, start, folder: Path) -> None:  # type: ignore[no-untyped-def]
    """Broken: text of one session is taken for another's where the order of calls says nothing, and not counted as
    lost."""
    port = free_port()
    server = ready(start(sys.executable, scripts(folder, BLOCKING, "server"), str(folder), str(port)))
    client = ready(start(sys.executable, scripts(folder, CROSSWISE, "client"), str(port), "3"))
    seen = watch([server, client])
    assert said(client) == [192]
    served = seen.wait(server.pid, "server", 192)
    seen.stop()
    assert served == Counter({(f"GET /x{200 + number}", str(200 + number)): 3 for number in range(64)})
    assert not seen.exchanges(client.pid, "client")
    assert seen.lost()[Loss.NO_SOCKET] == 3 * 192, "a request; an answer in two records"


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_python_that_blocks_and_resumed_sessions(watch: Watch, start, folder: Path, version: str) -> None:  # type: ignore[no-untyped-def]
    """Broken: a resumed session is not read, or a library that is loaded while the task runs is not found."""
    port = free_port()
    server = ready(start(sys.executable, scripts(folder, BLOCKING, "server"), str(folder), str(port)))
    client = ready(start(sys.executable, scripts(folder, BLOCKING_CLIENT, "client"), str(port), version, "1"))
    seen = watch([server, client])
    go(client)
    until(lambda: seen.take() or seen.batches[-1].flows or _has_ended(client), within_s=15)
    assert client.stdout is not None
    resumed, *statuses = map(int, client.stdout.readline().split())
    assert resumed == 2
    assert statuses == [200, 200, 404] * 3
    expected = Counter({("GET /id1", "200"): 3, ("GET /id2", "200"): 3, ("GET /absent", "404"): 3})
    assert seen.wait(client.pid, "client", 9) == expected
    assert seen.wait(server.pid, "server", 9) == expected


def _has_ended(program: "Popen[str]") -> bool:
    return program.poll() is not None


def test_a_session_goes_on_after_a_renegotiation(watch: Watch, start, folder: Path) -> None:  # type: ignore[no-untyped-def]
    """Broken: a handshake within a session spoils what comes after it."""
    port = free_port()
    server = ready(start("node", scripts(folder, NODE, "server"), str(folder), str(port)))
    client = start("sh", "-c", f"exec openssl s_client -connect 127.0.0.1:{port} -tls1_2 -crlf 2>&1")
    assert client.stdin is not None
    assert client.stdout is not None
    seen = watch([server, client])
    for number in range(3):
        client.stdin.write(f"GET /id{number} HTTP/1.1\nHost: here\n\n")
        client.stdin.flush()
        assert sum(seen.wait(server.pid, "server", number + 1).values()) == number + 1
        client.stdin.write("R\n")
        client.stdin.flush()
        time.sleep(0.2)
    client.stdin.write("Q\n")
    client.stdin.flush()
    heard = client.stdout.read()
    assert heard.count("RENEGOTIATING") == 3, heard
    expected = Counter({(f"GET /id{number}", "200"): 1 for number in range(3)})
    assert seen.exchanges(server.pid, "server") == expected
    assert seen.wait(client.pid, "client", 3) == expected


def test_a_program_that_has_openssl_in_it(watch: Watch, build, start, nginx: TlsNginx) -> None:  # type: ignore[no-untyped-def]
    """Broken: a statically linked program is not read; or a stripped one stops others, or nobody is told of it."""
    plain = build("https.c", "-static", "-lssl", "-lcrypto")
    stripped = plain.with_name("stripped")
    subprocess.run(["strip", "-o", stripped, plain], check=True)
    asking = [ready(start(each, str(nginx.port), "/page", "/absent", "/page")) for each in (plain, stripped)]
    seen = watch(asking)
    for each in asking:
        go(each)
        assert each.stdout is not None
        assert each.stdout.readline() == "done\n"
    expected = Counter({("GET /page", "200"): 2, ("GET /absent", "404"): 1})
    assert seen.wait(asking[0].pid, "client", 3) == expected
    assert not seen.exchanges(asking[1].pid, "client")
    seen.stop()
    notes = {batch.attributes.get("TLS not read", "") for batch in seen.batches}
    assert any(str(stripped) in note and "names of its functions" in note for note in notes), notes
    (finding,) = diagnose_tls(asking[1].pid, [OpenSsl()])
    assert finding.health is Health.WARNING
    assert str(stripped) in finding.detail
    (flow,) = [each for batch in seen.batches for each in batch.flows if each.key.process.pid == asking[1].pid][:1]
    assert flow.ssl, "that it is encrypted is seen all the same"


BORING = """
import sys
from curl_cffi import CurlHttpVersion, requests
print("ready", flush=True)
sys.stdin.readline()
with requests.Session(verify=False, http_version=CurlHttpVersion.V1_1) as session:
    base = "https://127.0.0.1:" + sys.argv[1]
    statuses = [session.get(base + path).status_code for path in ("/page", "/absent", "/page")]
print(*statuses, flush=True)
sys.stdin.readline()
"""


def test_boringssl_inside_a_wheel(watch: Watch, start, nginx: TlsNginx) -> None:  # type: ignore[no-untyped-def]
    """Broken: BoringSSL, or a library whose functions are named in .symtab alone, is not read."""
    client = ready(start(sys.executable, "-c", BORING, str(nginx.port)))
    seen = watch([client])
    assert said(client) == [200, 404, 200]
    expected = Counter({("GET /page", "200"): 2, ("GET /absent", "404"): 1})
    assert seen.wait(client.pid, "client", 3) == expected


def test_a_library_that_a_wheel_brings_under_a_name_of_its_own(watch: Watch, start, nginx: TlsNginx) -> None:  # type: ignore[no-untyped-def]
    """Broken: a bundled copy (`libssl-6a9b88ec.so.3`), here of a later version than Debian's, is not found."""
    (bundled,) = Path(site.getsitepackages()[0], "psycopg_binary.libs").glob("libssl-*.so*")
    page = f"https://127.0.0.1:{nginx.port}/page"
    curl = held(start, "curl", "-sk", "--http1.1", page, page, library=bundled)
    seen = watch([curl])
    go(curl)
    assert curl.wait(30) == 0
    assert seen.wait(curl.pid, "client", 2) == Counter({("GET /page", "200"): 2})


def test_a_library_that_a_third_party_makes_known(watch: Watch, start, nginx: TlsNginx) -> None:  # type: ignore[no-untyped-def]
    """Broken: what docs/hooks.md says of the hook does not work; here with wget, which uses GnuTLS."""
    pages = [f"https://127.0.0.1:{nginx.port}/{page}" for page in ("page", "large", "page")]
    command = ["wget", "-q", "-O", "/dev/null", "--no-check-certificate", *pages]
    wget = held(start, *command, library="libgnutls.so.30")
    seen = watch([wget])
    go(wget)
    assert wget.wait(30) == 0
    expected = Counter({("GET /page", "200"): 2, ("GET /large", "200"): 1})
    assert seen.wait(wget.pid, "client", 3) == expected
