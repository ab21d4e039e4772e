"""The real agent on the real kernel, working for a backend: from the report of a process to its flame graph there."""

import base64
import json
import re
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from end_to_end import ENVIRONMENT, folded, interrupt, until, wait_for_line
from nginx import Nginx
from skywalking_backend import Backend, BackendThread

pytestmark = pytest.mark.kernel

CONFIG = Path(__file__).parents[2] / "configs" / "skywalking.yaml"
QUICK = {
    "ROVER_PROFILING_CHECK_INTERVAL": "200ms",
    "ROVER_PROFILING_FLUSH_INTERVAL": "500ms",
    "ROVER_PROCESS_DISCOVERY_HEARTBEAT_PERIOD": "1s",
    "ROVER_PROCESS_DISCOVERY_SCAN_PERIOD": "500ms",
}
NAMELESS = re.compile(r"\+0x[0-9a-f]+$")


@pytest.fixture
def served() -> Iterator[BackendThread]:
    with BackendThread(Backend()) as thread:
        yield thread


@pytest.fixture
def work(begin: Any) -> Any:
    """work(backend, NAME=value): `rover run -c configs/skywalking.yaml`, impatiently."""

    def run(backend: Backend, **environment: str) -> Any:
        variables = {**ENVIRONMENT, **QUICK, "ROVER_BACKEND_ADDR": backend.address, **environment}
        return begin("run", "-c", CONFIG, env=variables)

    return run


def reported(backend: Backend, name: str) -> str:
    """The process's id, once it has one."""
    until(lambda: backend.id_of(name))
    return backend.id_of(name)


def shares(stacks: Mapping[tuple[str, ...], int]) -> dict[str, float]:
    """By innermost function: its part of all samples."""
    counts: defaultdict[str, int] = defaultdict(int)
    for stack, count in stacks.items():
        counts[stack[-1]] += count
    return {function: count / sum(counts.values()) for function, count in counts.items()}


def test_the_backends_flame_graph_is_the_one_that_rover_draws(
    served: BackendThread, work: Any, build: Any, start: Any, rover: Any
) -> None:
    """Broken: stacks, counts or names change on their way to the backend."""
    target = start(build("shares.c"), "60000")
    target.stdin.write("go\n")
    target.stdin.flush()
    backend, agent = served.backend, work(served.backend)
    name = Path(build("shares.c")).name
    backend.order("t", [reported(backend, name)])
    until(lambda: backend.total("t") > 20)
    to_stdout = ("--format", "folded", "--output", "-")
    beside = folded(rover("profile", "oncpu", "--pid", target.pid, "--duration", "3", *to_stdout).stdout)
    until(lambda: backend.total("t") > 100)
    _, output, errors = interrupt(agent)
    assert agent.returncode == 0, errors
    assert "samples kept" in output
    kept = folded(rover("history", "export", "last", *to_stdout).stdout)
    local: defaultdict[tuple[str, ...], int] = defaultdict(int)
    for (_, *stack), count in kept.items():
        frames = (frame.removesuffix("_[k]") for frame in stack)
        local[tuple("[MISSING]" if NAMELESS.search(frame) else frame for frame in frames)] += count
    assert backend.folded("t") == local, "what this host kept of the same task"
    there, here = shares(backend.folded("t")), shares(beside)
    assert there["three_quarters"] == pytest.approx(here["three_quarters"], abs=0.2)
    assert there["three_quarters"] > there["one_quarter"] > 0


def test_sampled_traces_reach_the_backend(served: BackendThread, work: Any, nginx: Nginx) -> None:
    """Broken: a task's sampling rules are not heeded, or the backend gets no logs and events of what they ask for."""
    backend, agent = served.backend, work(served.backend)
    mine = reported(backend, "nginx")
    settings = {"RequireCompleteRequest": True, "RequireCompleteResponse": True, "MaxResponseSize": 200}
    rule = {"URIRegex": "^/absent", "When4xx": True, "Settings": settings}
    backend.order("t", [mine], "NETWORK", ExtensionConfigJSON=json.dumps({"NetworkSamplings": [rule]}))
    wait_for_line(agent, "task started")
    parts = ("trace.7", "segment.7", "shop", "pod", "/buy", "x:1")
    trace, segment, *others = (base64.b64encode(part.encode()).decode() for part in parts)
    sw8 = f"sw8: {'-'.join(['1', trace, segment, '3', *others])}"
    command = ["curl", "-s", "-o", "/dev/null", "-H", sw8, "-H", "Cookie: a=hunter2"]
    urls = [f"http://127.0.0.1:{nginx.port}{path}" for path in ("/absent?token=hunter2", "/page", "/gone")]
    subprocess.run([*command, *urls], check=True, timeout=60, stdout=subprocess.DEVNULL)
    until(lambda: backend.logs and len(backend.span_events) == 4)
    (log,) = backend.logs
    body = json.loads(log.body.json.json)
    assert (body["uri"], body["reason"], body["status"]) == ("/absent", "status_4xx", 404)
    assert body["detect_point"] == "server"
    assert body["server_process"]["process_id"] == mine
    assert log.traceContext.traceId == "trace.7"
    assert [event.event for event in backend.span_events] == [
        "HTTP Request Sampling",
        "Syscall Recvfrom",
        "HTTP Response Sampling",
        "Syscall Writev",
    ]
    assert {event.traceContext.traceSegmentId for event in backend.span_events} == {"segment.7"}
    request, read, response, write = ({tag.key: tag.value for tag in event.tags} for event in backend.span_events)
    assert {each["network_name"] for each in (read, write)} == {"lo"}
    assert {each["package_count"] for each in (read, write)} == {"1"}
    assert all(each["package_size"].endswith("B") and each["avg_rtt_time"].endswith("ns") for each in (read, write))
    assert request["data_content"].startswith("GET /absent?token=[redacted] HTTP/1.1\n")
    assert "hunter2" not in str(backend.span_events)
    assert len(response["data_content"]) == 200
    assert (request["data_direction"], response["data_direction"]) == ("inbound", "outbound")
    interrupt(agent)
    assert agent.returncode == 0


def test_a_backend_that_restarts_misses_nothing(
    served: BackendThread, work: Any, spinning: int, build: Any, rover: Any
) -> None:
    """Broken: what was profiled while the backend was away is lost, or profiling stopped with it."""
    backend, agent = served.backend, work(served.backend)
    backend.order("t", [reported(backend, Path(build("spin.c")).name)])
    until(lambda: backend.total("t"))
    served.stop()
    wait_for_line(agent, "backend did not answer")
    time.sleep(2)
    before = backend.total("t")
    served.start()
    until(lambda: backend.total("t") > before)
    _, output, errors = interrupt(agent)
    seen = int(re.search(r"all (\d+) samples kept", output.replace(",", ""))[1])  # type: ignore[index]
    assert backend.total("t") == seen
    assert "skywalking lost" not in errors


def test_a_task_for_thirty_processes(
    served: BackendThread, work: Any, build: Any, start: Any, tmp_path: Path
) -> None:
    """Broken: of a task over a whole service one process is profiled; or thirty programs are compiled for it."""
    program = build("spin.c")
    for number in range(30):
        copy = tmp_path / f"worker-{number}"
        shutil.copy(program, copy)
        start("nice", "-n", "19", str(copy), "120000")  # thirty busy loops would leave no time for the agent
    backend, agent = served.backend, work(served.backend)
    ids = [reported(backend, f"worker-{number}") for number in range(30)]
    for each in ids:
        backend.order("apart", [each])
    backend.order("together", ids)
    for each in ids:
        until(lambda: backend.folded("apart", each) and backend.folded("together", each), 60)  # noqa: B023
    for task in ("apart", "together"):
        for each in ids:
            assert any("burn_a_while" in stack for stack in backend.folded(task, each)), "its own stacks"
    interrupt(agent)
    assert agent.returncode == 0


def test_mutual_tls_and_authentication(work: Any, spinning: int, build: Any, tmp_path: Path, rover: Any) -> None:
    """Broken: the variables do not reach the connection; or doctor says another thing than run."""
    authority = Authority(tmp_path)
    own = authority.sign("agent", "agent")
    secured = {
        "ROVER_BACKEND_ENABLE_TLS": "true",
        "ROVER_BACKEND_CA_PEM_PATH": str(authority.own.certificate),
        "ROVER_BACKEND_PEM_PATH": str(own.certificate),
        "ROVER_BACKEND_KEY_PATH": str(own.key),
        "ROVER_BACKEND_AUTHENTICATION": "s3cret",
    }
    credentials = authority.server(authority.sign("server"), ask_clients=True)
    with BackendThread(Backend(authentication="s3cret"), credentials) as served:
        backend = served.backend
        agent = work(backend, **secured)
        backend.order("t", [reported(backend, Path(build("spin.c")).name)], "OFF_CPU")
        backend.order("u", [reported(backend, Path(build("spin.c")).name)])
        until(lambda: backend.total("u"))
        _, _, errors = interrupt(agent)
        assert "s3cret" not in errors
        variables = {**secured, "ROVER_BACKEND_ADDR": backend.address}
        lines = json.loads(rover("doctor", "--backend", "--json", "-c", CONFIG, env=variables).stdout)
        answer = next(line for line in lines if line["name"] == "backend")
        assert (answer["health"], "(TLS)" in answer["detail"]) == ("ok", True)


def test_a_backend_that_is_never_there(work: Any, tmp_path: Path) -> None:
    """Broken: an agent without its backend ends, hangs at its end, or fills the log."""
    backend = Backend()
    backend.port = 1
    agent = work(backend)
    wait_for_line(agent, "backend did not answer")
    time.sleep(2)
    seconds, _, errors = interrupt(agent)
    assert agent.returncode == 0, errors
    assert seconds < 5
    assert errors.count("backend did not answer") <= 2
    assert "Traceback" not in errors
