"""Real commands as the installed `rover` sees them, against the server's own statistics. Needs root and a kernel."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROVER = Path(sys.executable).with_name("rover")
INSTALLED = "redis" in entry_points(group="rover.plugins").names
pytestmark = [
    pytest.mark.skipif(not INSTALLED, reason="rover-redis is not installed here"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed"),
]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Of a server that keeps nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number: int = listener.getsockname()[1]
    server = subprocess.Popen(
        ["redis-server", "--port", str(number), "--save", "", "--dir", str(tmp_path)], stdout=subprocess.DEVNULL
    )
    while not listens(number):
        assert server.poll() is None
        time.sleep(0.05)
    yield number
    server.terminate()
    server.wait(timeout=20)


def test_calls_are_those_of_the_servers_statistics(port: int) -> None:
    """Broken: an installed third party's protocol is not recognised in the kernel, or exchanges are missed."""
    rover = subprocess.Popen(
        [ROVER, "profile", "network", "--all", "--duration", "0", "--format", "json", "--log-level", "info"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("ROVER_")},
    )
    assert rover.stderr
    while "task started" not in (line := rover.stderr.readline()):
        assert line, "it ended"
    cli = ["redis-cli", "-p", str(port)]
    said = (
        "set a 1\nget a\nget absent\nlpush a x\nhset h f v g w\nhgetall h\nconfig get save\nfrobnicate\n"
        + "lrange mylist 0 99\n" * 20
    )
    load = ["redis-benchmark", "-p", str(port), "-q", "-c", "5", "-n", "500", "-P", "4", "-t", "set,get,lpush"]
    subprocess.run(load, check=True, stdout=subprocess.DEVNULL, timeout=60)
    subprocess.run(cli, input=said, text=True, check=True, stdout=subprocess.DEVNULL, timeout=60)
    told = subprocess.run([*cli, "info", "commandstats"], text=True, capture_output=True, timeout=60).stdout.split()
    time.sleep(0.5)
    rover.send_signal(signal.SIGINT)
    output, errors = rover.communicate(timeout=60)
    assert rover.returncode == 0, errors
    calls, failures = Counter[str](), Counter[str]()
    for record in map(json.loads, output.splitlines()):
        if record["type"] == "operation" and record["protocol"] == "redis" and record["role"] == "server":
            calls[record["operation"]] += record["requests"]
            failures.update({status: count for status, count in record["statuses"].items() if status != "OK"})
    stats = dict(line.removeprefix("cmdstat_").split(":calls=") for line in told if ":calls=" in line)
    expected = {name.replace("|", " ").upper(): int(text.split(",")[0]) for name, text in stats.items()}
    assert {name: calls[name] for name in expected} == expected
    assert failures == {"WRONGTYPE": 1, "ERR": 1}
