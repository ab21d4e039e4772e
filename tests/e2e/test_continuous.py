"""Continuous profiling, by the real agent on the real kernel: what does too much is profiled, with its causes.

Thresholds are low and windows short, so that a busy machine passes them as well as an idle one.
"""

import base64
import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from end_to_end import ENVIRONMENT, interrupt, until, wait_for_line
from nginx import Nginx
from skywalking_backend import Backend, BackendThread

pytestmark = pytest.mark.kernel

CONFIG = Path(__file__).parents[2] / "configs" / "skywalking.yaml"
OFTEN = "profiling.task.network.report_interval=1s"
QUICK = {
    "ROVER_PROFILING_CHECK_INTERVAL": "200ms",
    "ROVER_PROFILING_FLUSH_INTERVAL": "500ms",
    "ROVER_PROCESS_DISCOVERY_HEARTBEAT_PERIOD": "500ms",
    "ROVER_PROFILING_CONTINUOUS_FETCH_INTERVAL": "200ms",
    "ROVER_PROFILING_CONTINUOUS_CHECK_INTERVAL": "500ms",
    "ROVER_PROFILING_CONTINUOUS_TRIGGER_EXECUTE_DURATION": "5s",
}


def check(threshold: float, **uris: Any) -> dict[str, Any]:
    """In any second of the last five."""
    return {"Threshold": str(threshold), "Period": 5, "Count": 1, **uris}


@pytest.fixture
def served() -> Iterator[BackendThread]:
    with BackendThread(Backend()) as thread:
        yield thread


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[str], Nginx]]:
    """serve(name) starts an nginx of a name of its own: others may run on this machine, too."""
    program = shutil.which("nginx")
    if program is None:
        pytest.skip("nginx is not installed")
    tmp_path.chmod(0o755)
    servers: list[Nginx] = []

    def run(name: str) -> Nginx:
        folder = tmp_path / f"{name}-files"
        folder.mkdir()
        servers.append(Nginx(folder, program=shutil.copy(program, tmp_path / name)))
        return servers[-1]

    yield run
    for server in servers:
        server.process.terminate()
        server.process.wait(timeout=20)


@contextmanager
def asking(nginx: Nginx, *paths: str) -> Iterator[None]:
    """Somebody asks for these, again and again, each request part of a trace."""
    parts = ("trace.7", "segment.7", "shop", "pod", "/buy", "x:1")
    trace, segment, *others = (base64.b64encode(part.encode()).decode() for part in parts)
    header = f"sw8: {'-'.join(['1', trace, segment, '3', *others])}"
    urls = [f"http://127.0.0.1:{nginx.port}{path}" for path in paths]
    ended = threading.Event()

    def ask() -> None:
        while not ended.wait(0.1):
            command = ["curl", "-s", "-m", "20", "-H", header, *urls]
            subprocess.run(command, check=False, timeout=60, stdout=subprocess.DEVNULL)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def reports(backend: Backend, program: Path | str) -> dict[str, tuple[str, Any]]:
    """What was triggered of a program: by target, the task's id and the report."""
    name = Path(program).name[:15]
    return {
        report.WhichOneof("targetTask"): (task_id, report)
        for task_id, report in list(backend.triggered.items())
        if report.processName.startswith(name)
    }


def functions(backend: Backend, task_id: str) -> set[str]:
    return {function for stack in backend.folded(task_id) for function in stack}


def set_policy(backend: Backend, program: Path | str, profiling: Any) -> None:
    """For the service of a program, as soon as it is known."""
    name = Path(program).name[:15]

    def service() -> str:
        known = (each.serviceName for each in list(backend.processes.values()) if each.processName.startswith(name))
        return next(known, "")

    until(service)
    backend.set_policy(service(), profiling)


def metrics(backend: Backend) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for collection in list(backend.collections):
        for data in collection.meterData:
            labels = {label.name: label.value for label in data.singleValue.labels}
            found.setdefault(data.singleValue.name, []).append((labels, data.singleValue.value))
    return found


def test_what_policies_of_a_backend_begin(
    served: BackendThread, begin: Any, build: Any, start: Any, serve: Callable[[str], Nginx]
) -> None:
    """Broken: a backend's policies begin nothing, something else, or what they begin never arrives there."""
    backend, web = served.backend, serve("nginx-watched")
    burner, leak, later = build("spin.c", "-DWATCHED"), build("thread_leak.c"), build("shares.c", "-DWATCHED")
    first_leak, waiting = start(leak, "1"), start(later, "60000")
    start(burner, "120000")
    variables = {**ENVIRONMENT, **QUICK, "ROVER_BACKEND_ADDR": backend.address}
    agent = begin("run", "-c", CONFIG, "--log-level", "warning", env=variables)

    # Two policies on one process.
    off_cpu = {"PROCESS_THREAD_COUNT": check(1), "SYSTEM_LOAD": check(100_000)}
    set_policy(backend, burner, {"ON_CPU": {"PROCESS_CPU": check(3)}, "OFF_CPU": off_cpu})
    set_policy(backend, leak, {"OFF_CPU": {"PROCESS_THREAD_COUNT": check(10)}})
    set_policy(backend, later, {"ON_CPU": {"PROCESS_CPU": check(3)}})
    broken = {"HTTP_ERROR_RATE": check(50, URIList=["/page", "/broken"])}
    slow = {"HTTP_AVG_RESPONSE_TIME": check(300, URIRegex="^/slow")}
    set_policy(backend, web.process.args[0], {"NETWORK": broken, "ON_CPU": slow})  # type: ignore[index]

    # A process is restarted, and its successor is the one that leaks.
    first_leak.kill()
    first_leak.communicate()
    second_leak = start(leak, "40")

    with asking(web, "/page", "/broken"), asking(web, "/slowly"):
        until(lambda: {"onCPU", "offCPU"} <= reports(backend, burner).keys(), 60)
        until(lambda: reports(backend, leak), 60)
        until(lambda: {"onCPU", "network"} <= reports(backend, "nginx-watched").keys(), 60)
        until(lambda: len(backend.logs) > 2 and len(backend.span_events) > 4, 60)

    on_cpu, report = reports(backend, burner)["onCPU"]
    (cause,) = report.causes
    assert (cause.type, cause.singleValue.threshold) == (0, 3)
    assert 3 <= cause.singleValue.current <= 100
    assert report.duration == 5
    until(lambda: "burn_a_while" in functions(backend, on_cpu))

    leaking, report = reports(backend, leak)["offCPU"]
    (cause,) = report.causes
    assert (cause.type, cause.singleValue.threshold) == (1, 10)
    assert 10 <= cause.singleValue.current <= 41
    until(lambda: "leaked" in functions(backend, leaking))
    assert second_leak.poll() is None

    _, report = reports(backend, "nginx-watched")["network"]
    (cause,) = report.causes
    assert (cause.type, cause.uri.path, cause.uri.threshold, cause.uri.current) == (3, "/broken", 50, 100)
    assert list(report.network.samplingURIRegexes) == ["/broken"]
    logged = [json.loads(log.body.json.json) for log in backend.logs]
    assert {(body["uri"], body["status"]) for body in logged} == {("/broken", 500)}, "others were asked for as often"
    texts = [tag.value for event in backend.span_events for tag in event.tags if tag.key == "data_content"]
    assert {text.split(" ")[1] for text in texts} == {"/broken", "500"}
    _, report = reports(backend, "nginx-watched")["onCPU"]
    (cause,) = report.causes
    assert (cause.type, cause.uri.regex) == (4, "^/slow")
    assert 300 <= cause.uri.current < 60_000

    known = metrics(backend)
    labels = {"process_name": burner.name, "layer": "OS_LINUX"}
    shares, threads, loads = (
        [value for its, value in known[f"rover_con_p_{monitor}"] if its == labels]
        for monitor in ("process_cpu", "process_thread_count", "system_load")
    )
    assert 3 < max(shares) <= 100
    assert set(threads) == {1}
    assert 0 < max(loads) < 100_000
    rates = {labels["uri"]: value for labels, value in known["rover_con_p_http_error_rate"]}
    assert rates == {"/page": 0, "/broken": 100}
    assert max(value for _, value in known["rover_con_p_http_avg_response_time"]) > 300

    # The backend is away when it matters.
    away_ms = time.time_ns() // 1_000_000
    served.stop()
    waiting.stdin.write("go\n")
    waiting.stdin.flush()
    wait_for_line(agent, "reportProfilingTask")
    back_ms = time.time_ns() // 1_000_000
    served.start()
    until(lambda: reports(backend, later), 60)
    task_id, _ = reports(backend, later)["onCPU"]
    until(lambda: "three_quarters" in functions(backend, task_id), 60)
    assert len(backend.triggered) == 6, "nothing was begun twice"
    until(lambda: any(away_ms < each.meterData[0].timestamp < back_ms for each in list(backend.collections)), 60)
    interrupt(agent)
    assert agent.returncode == 0


POLICY = """
process_discovery: {{scanner: {{mode: ALL}}}}
profiling:
  continuous:
    fetch_interval: 200ms
    check_interval: 500ms
    trigger: {{execute_duration: 2s}}
    policies:
      - service_name: {burner}
        profiling:
          ON_CPU: {{PROCESS_CPU: {{threshold: 3, period: 5, count: 1}}}}
          OFF_CPU: {{PROCESS_THREAD_COUNT: {{threshold: 1, period: 5, count: 1}}}}
      - service_name: {leak}
        profiling: {{OFF_CPU: {{PROCESS_THREAD_COUNT: {{threshold: 10, period: 5, count: 1}}}}}}
"""


def test_what_policies_of_the_configuration_begin(
    rover: Any, begin: Any, tmp_path: Path, build: Any, start: Any
) -> None:
    """Broken: without a backend nothing is begun, of two policies on one process but one is heeded, or none on a
    process that was restarted; or nobody can tell afterwards what it was for."""
    burner, leak = build("spin.c", "-DALONE"), build("thread_leak.c", "-DALONE")
    pid, first_leak = start(burner, "120000").pid, start(leak, "1")
    (tmp_path / "rover.yaml").write_text(POLICY.format(burner=burner.name, leak=leak.name))
    agent = begin("run", "-c", "rover.yaml")
    wait_for_line(agent, "policy triggered")
    first_leak.kill()
    first_leak.wait()
    leaking = start(leak, "40").pid
    for _ in range(3):
        wait_for_line(agent, "task ended")
    interrupt(agent)
    assert agent.returncode == 0
    tasks = {task["id"].split("-", 2)[2]: task for task in json.loads(rover("history", "list", "--json").stdout)}
    causes = {name: task["causes"] for name, task in tasks.items()}
    burnt, waited, leaked = f"oncpu-{pid}", f"offcpu-{pid}", f"offcpu-{leaking}"
    assert causes.keys() == {burnt, waited, leaked}
    assert causes[burnt].startswith(f"{burner.name} ({pid}): PROCESS_CPU ")
    assert causes[burnt].endswith(" %, threshold 3 %")
    assert causes[waited] == f"{burner.name} ({pid}): PROCESS_THREAD_COUNT 1 threads, threshold 1 threads"
    assert causes[leaked].endswith(" threads, threshold 10 threads")
    for name, function in ((burnt, "burn_a_while"), (leaked, "leaked")):
        shown = rover("history", "show", tasks[name]["id"]).stdout
        assert f"Begun because of {causes[name]}" in shown
        assert function in shown


def test_watching_from_the_command_line(rover: Any, begin: Any, build: Any, start: Any) -> None:
    """Broken: `rover watch` shows no values, begins nothing, or does not say where the result lies."""
    leak = start(build("thread_leak.c"), "30")
    watch = begin(
        *("watch", "--threads", 10, "--for", "1s", "--pid", leak.pid, "--then", "offcpu", "--profile-for", "2s")
    )
    seen: list[dict[str, Any]] = []
    for line in watch.stdout:
        seen.append(json.loads(line))
        if seen[-1]["type"] == "trigger":
            break
    trigger, values = seen[-1], seen[:-1]
    assert {each["pid"] for each in values} == {leak.pid}
    assert {each["threshold"] for each in values} == {10}
    assert values[-1]["value"] >= 10
    (cause,) = trigger["causes"]
    assert (trigger["profiler"], trigger["pids"], cause["monitor"]) == ("OFF_CPU", [leak.pid], "PROCESS_THREAD_COUNT")
    last = json.loads(watch.stdout.readline())
    assert (last["type"], last["seconds_over"]) == ("value", 1)
    until(lambda: "leaked" in rover(*trigger["result"].split()[1:]).stdout, 60)
    leak.kill()
    leak.wait()
    _, errors = watch.communicate(timeout=60)
    assert watch.returncode == 0
    assert "What was watched has exited." in errors
    assert "Begun because of" in rover("history", "show", trigger["task"]).stdout


def test_requests_are_watched_without_a_backend(
    rover: Any, begin: Any, serve: Callable[[str], Nginx], tmp_path: Path
) -> None:
    """Broken: a URI that fails, or is slow, begins nothing, or samples of others are kept; nobody is told that it
    takes a moment until requests are watched; or it goes on when nothing is left to be watched."""
    failing, slow = serve("nginx-failing"), serve("nginx-slow")
    pids = [option for server in (failing, slow) for option in ("--pid", server.process.pid)]
    uris = [option for path in ("/page", "/broken", "/slowly") for option in ("--uri", path)]
    thresholds = ("--http-errors", 50, "--http-time", "1s", "--for", "1s")
    watch = begin("watch", *thresholds, *uris, *pids, "--profile-for", "6s", "--json", "--set", OFTEN)
    wait_for_line(watch, "Loading the network program")
    wait_for_line(watch, "Requests are watched")
    triggers: dict[int, Any] = {}
    with asking(failing, "/page", "/broken"), asking(slow, "/page", "/slowly"):
        while len(triggers) < 2:
            record = json.loads(watch.stdout.readline())
            if record["type"] == "trigger":
                triggers[record["pids"][0]] = record
        for record in triggers.values():
            until(lambda: rover(*record["samples"].split()[1:]).returncode == 0, 60)  # noqa: B023
    for server in (failing, slow):
        server.process.terminate()
        server.process.wait(timeout=20)
    _, errors = watch.communicate(timeout=60)
    assert watch.returncode == 0
    assert "What was watched has exited." in errors
    for server, monitor, path in (
        (failing, "HTTP_ERROR_RATE", "/broken"),
        (slow, "HTTP_AVG_RESPONSE_TIME", "/slowly"),
    ):
        trigger = triggers[server.process.pid]
        (cause,) = trigger["causes"]
        assert (trigger["profiler"], cause["monitor"], cause["uri"]) == ("NETWORK", monitor, path)
        assert cause["value"] >= cause["threshold"]
        sampled = [json.loads(line) for line in rover(*trigger["samples"].split()[1:], "--json").stdout.splitlines()]
        assert {(each["pid"], each["subject"]) for each in sampled} == {(server.process.pid, path)}
        assert f": {trigger['samples']}\n" in rover(*trigger["result"].split()[1:]).stdout
