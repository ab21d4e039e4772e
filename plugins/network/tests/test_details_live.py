"""The system calls of real programs' sampled messages: which they were, when, and in how many packets."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

import pytest
from nginx import Nginx
from programs import Script, go, line, process_of

from rover_core.model import SampledExchange, SampledMessage, Syscall, Task, Telemetry
from rover_http1.plugin import rover_protocols
from rover_network.packetprobes import COPIED, LEAVING
from rover_network.probes import raw
from rover_network.profiler import NetworkProfiler, create
from rover_network.rules import parse_rules
from rover_network.settings import NetworkSettings, ProtocolAnalyzeSettings

pytestmark = pytest.mark.kernel

RULES = {"sampling": parse_rules("slow>0s,4xx,max=8KB")}
HEADERS = 20 + 32  # IPv4's, and TCP's with timestamps
# Says of each call: its name, the bytes that it moved, and when, by the wall clock; then the kernel's own figures.
RAW = """
import json, os, socket, struct, tempfile, time
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
server, _ = listener.accept()
server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
HEAD = b"HTTP/1.1 404 None\\r\\nContent-Length: 5000\\r\\n\\r\\n"
said = []

def call(name, does):
    since = time.time_ns()
    moved = does()
    said.append([name, moved, since, time.time_ns()])
    return moved

def exchange():
    call("Sendto", lambda: client.send(b"GET /raw HTTP/1.1\\r\\nHost: a\\r\\n"))
    call("Writev", lambda: os.writev(client.fileno(), [b"X-A: b\\r\\n", b"X-C: d\\r\\n"]))
    call("SendMsg", lambda: client.sendmsg([b"X-E: f\\r\\n", b"\\r\\n"]))
    call("Recvfrom", lambda: len(server.recv(10)))
    call("Readv", lambda: os.readv(server.fileno(), [bytearray(5), bytearray(10)]))
    call("RecvMsg", lambda: server.recvmsg_into([bytearray(9000)])[0])
    call("Write", lambda: os.write(server.fileno(), HEAD))
    with tempfile.TemporaryFile() as file:
        file.write(b"b" * 5000)
        file.flush()
        call("SendFile", lambda: os.sendfile(server.fileno(), file.fileno(), 0, 5000))
    left = len(HEAD) + 5000
    while left:
        left -= call("Read", lambda: len(os.read(client.fileno(), min(left, 2000))))

print("ready", flush=True)
input()
exchange()

def sent(end):
    info = end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
    return struct.unpack_from("I", info, 68)[0], struct.unpack_from("I", info, 156)[0]
print(json.dumps({"calls": said, "client": sent(client), "server": sent(server)}), flush=True)
input()
"""


@pytest.fixture(scope="module")
def profiler() -> Iterator[NetworkProfiler]:
    """One for all tests here. A task of its own keeps the program loaded."""
    profiler = create(NetworkSettings(), ProtocolAnalyzeSettings(), rover_protocols)
    profiler.start(Task("always", "NETWORK", ()), [])
    yield profiler
    profiler.close()


def watched(profiler: NetworkProfiler, program: "Popen[str]", rules: dict[str, object]) -> tuple[Telemetry, str]:
    assert line(program) == "ready"
    process = process_of(program)
    profiler.start(Task("test", "NETWORK", (process.key,), settings=rules), [process])
    go(program)
    account = line(program)
    telemetry = profiler.stop("test")
    assert telemetry is not None
    return telemetry, account


def sampled(telemetry: Telemetry, role: str) -> SampledExchange:
    (sample,) = (each for each in telemetry.samples if each.flow.role == role)
    return sample.exchange


def messages(exchange: SampledExchange) -> tuple[SampledMessage, SampledMessage]:
    assert exchange.request
    assert exchange.response
    return exchange.request, exchange.response


def total(calls: tuple[Syscall, ...]) -> tuple[int, int]:
    return sum(call.packets for call in calls), sum(call.packet_bytes for call in calls)


def check_account(telemetry: Telemetry, account: str) -> None:
    """Every call of the program, in its order, with its bytes, times and packets."""
    truth = json.loads(account)
    request, answer = messages(sampled(telemetry, "client"))
    asked, response = messages(sampled(telemetry, "server"))
    seen = [*request.syscalls, *asked.syscalls, *response.syscalls, *answer.syscalls]
    assert [call.function for call in seen] == [name for name, *_ in truth["calls"]]
    sends = {"Sendto", "Writev", "SendMsg", "Write", "SendFile"}
    for call, (name, moved, since_ns, until_ns) in zip(seen, truth["calls"], strict=True):
        # The wall clock is set now and then; what lies in between is the call and Python's way there and back.
        assert since_ns - 50_000_000 < call.start_ns < call.end_ns < until_ns + 50_000_000, name
        assert call.end_ns - call.start_ns < until_ns - since_ns + 1_000_000, name
        assert call.packet_bytes == moved + (HEADERS * call.packets if name in sends else 0), name
        assert (call.interface, call.packets > 0, call.rtt_us > 0) == ("lo", True, True), name
    for end, calls in (("client", request.syscalls), ("server", response.syscalls)):
        rtt_us, segments = truth[end]
        assert total(calls)[0] == segments  # tcpi_data_segs_out, the kernel's own count
        assert 0 < calls[-1].rtt_us < 100 * rtt_us + 1000


def test_calls_of_a_program_that_says_what_it_does(profiler: NetworkProfiler, script: Script) -> None:
    """Broken: calls are missing, are called by others' names, or their bytes, packets or times are not theirs."""
    telemetry, account = watched(profiler, script(RAW), RULES)
    check_account(telemetry, account)
    assert not telemetry.completeness.lost
    assert "packets" not in telemetry.attributes.get("not measured", "")


def test_without_the_tracepoints_that_tell_lengths(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: on kernels before 6.3 sampled exchanges have no system calls, or wrong ones."""
    from rover_network import counting as module
    from rover_network.counter import NetworkCounter
    from rover_network.probes import RECEIVED, SENT

    monkeypatch.setattr(
        module, "NetworkCounter", lambda layer7: NetworkCounter(without=(SENT, RECEIVED), layer7=layer7)
    )
    profiler = create(NetworkSettings(), ProtocolAnalyzeSettings(), rover_protocols)
    try:
        check_account(*watched(profiler, script(RAW), RULES))
    finally:
        profiler.close()


def test_nothing_is_paid_while_nothing_is_sampled(profiler: NetworkProfiler, script: Script) -> None:
    """Broken: every packet of the host runs a program for samples that nobody wants, or rules leave them behind."""
    telemetry, _ = watched(profiler, script(RAW), {})
    assert not telemetry.samples
    quiet = telemetry.steps["records read"]
    assert profiler._counter
    assert not profiler._counter.capture._packets._attached  # type: ignore[attr-defined]
    telemetry, account = watched(profiler, script(RAW), RULES)
    assert not profiler._counter.capture._packets._attached  # type: ignore[attr-defined]
    assert telemetry.steps["records read"] - quiet >= len(json.loads(account)["calls"])


def test_a_tracepoint_that_is_missing_is_named(
    profiler: NetworkProfiler, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a kernel without one of them has no samples at all, or packets are missing and nobody says so."""
    assert profiler._counter
    probes = profiler._counter.capture._packets  # type: ignore[attr-defined]
    monkeypatch.setattr(probes, "_plans", (raw(LEAVING.purpose, ("rover_on_leaving", "net_dev_nothing")), COPIED))
    telemetry, _ = watched(profiler, script(RAW), RULES)
    request, answer = messages(sampled(telemetry, "client"))
    assert (len(request.syscalls), total(request.syscalls)) == (3, (0, 0))
    assert total(answer.syscalls)[0] == len(answer.syscalls) == 3
    assert LEAVING.purpose in telemetry.attributes["not measured"]


def test_what_nginx_and_curl_did(profiler: NetworkProfiler, tmp_path: Path) -> None:
    """Broken: of real programs, a message's packets do not come to the bytes that the server's log has."""
    if not (shutil.which("nginx") and shutil.which("curl")):
        pytest.skip("nginx or curl is not installed")
    (tmp_path / "nginx").mkdir()
    tmp_path.chmod(0o755)
    nginx = Nginx(tmp_path / "nginx")
    try:
        profiler.start(Task("test", "NETWORK", settings=RULES), None)
        profiler.tick()
        began_ns = time.time_ns()
        for path in ("/page", "/absent", "/large"):
            url = f"http://127.0.0.1:{nginx.port}{path}"
            subprocess.run(["curl", "-s", "-o", "/dev/null", "--max-time", "60", url], check=True, timeout=90)
        ended_ns = time.time_ns()
        telemetry = profiler.stop("test")
    finally:
        nginx.process.terminate()
        nginx.process.wait(20)
    assert telemetry
    for (operation, _, _), (_, sent, received, _) in zip(nginx.requests(), nginx.account(), strict=True):
        subject = operation.split()[1]
        found = {
            each.flow.role: each.exchange
            for each in telemetry.samples
            if each.exchange.subject == subject and {each.flow.name} & {"curl", "nginx"}
        }
        request, answer = messages(found["client"])
        asked, response = messages(found["server"])
        assert {call.function for call in (*request.syscalls, *asked.syscalls)} <= {"Sendto", "Recvfrom"}
        assert total(request.syscalls) == (1, received + HEADERS)
        assert total(asked.syscalls) == (1, received)
        assert total(answer.syscalls)[1] == sent
        packets, sizes = total(response.syscalls)
        if subject != "/large":  # whose packets leave later too, when there is room at the other end
            assert sizes == sent + HEADERS * packets, response.syscalls
        assert 0 < sizes <= sent + HEADERS * packets
        assert response.syscalls[0].function in ("Writev", "Write", "Sendto")
        assert ("SendFile" in {call.function for call in response.syscalls}) == (subject != "/absent")
        for message in (request, asked, answer, response):
            starts = [call.start_ns for call in message.syscalls]
            assert starts == sorted(starts)
            assert starts[0] > began_ns - 50_000_000
            assert max(call.end_ns for call in message.syscalls) < ended_ns + 50_000_000
            assert {call.interface for call in message.syscalls if call.packets} == {"lo"}
