"""`rover profile network` against servers and clients that nobody here wrote, and their own accounts."""

import json
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from end_to_end import complaint, until
from pages import data_of

pytestmark = pytest.mark.kernel

NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors; worker_rlimit_nofile 4096;
events {{ worker_connections 1024; }}
http {{
    log_format account '$status $bytes_sent $request_length $connection';
    access_log {folder}/log account;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi; keepalive_requests 100000;
    server {{ listen 127.0.0.1:{port}; listen [::1]:{port}; root {folder}; location / {{ sendfile {sendfile}; }} }}
}}
"""


class Nginx:
    """A server with an account of all it sent, in its access log."""

    def __init__(self, folder: Path, sendfile: str = "on") -> None:
        self.port = _free_port()
        self.log = folder / "log"
        (folder / "page").write_bytes(b"x" * 1400)
        (folder / "large").write_bytes(b"y" * 3_000_000)
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=self.port, sendfile=sendfile))
        folder.chmod(0o755)
        self.process = subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf")])
        until(self._answers)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def account(self) -> list[list[int]]:
        """[status, bytes sent, request length, connection] of each request."""
        return [[int(word) for word in line.split()] for line in self.log.read_text().splitlines()]


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    folder = tmp_path / "nginx"
    folder.mkdir()
    tmp_path.chmod(0o755)
    server = Nginx(folder)
    yield server
    server.process.send_signal(signal.SIGQUIT)
    server.process.wait(timeout=20)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def watching(begin, *arguments: object) -> "subprocess.Popen[str]":  # type: ignore[no-untyped-def]
    """A `rover profile network` that has begun to count."""
    rover = begin("profile", "network", "--duration", "0", "--log-level", "info", *arguments)
    seen = []
    for text in rover.stderr:
        seen.append(text)
        if "task started" in text:
            return rover  # type: ignore[no-any-return]
    raise AssertionError(seen)


def lines(rover: "subprocess.Popen[str]") -> list[dict[str, Any]]:
    """What it says when it is interrupted, line by line."""
    rover.send_signal(signal.SIGINT)
    output, errors = rover.communicate(timeout=60)
    assert rover.returncode == 0, errors
    return [json.loads(text) for text in output.splitlines()]


def total(records: list[dict[str, Any]], figure: str, what: str) -> int:
    return sum(record["figures"].get(figure, {}).get(what, 0) for record in records if record["type"] == "flow")


def test_nginx_under_load_by_its_own_account(begin, nginx: Nginx) -> None:  # type: ignore[no-untyped-def]
    """Broken: under load bytes or connections differ from what the server wrote to its log."""
    rover = watching(begin, "--pid", nginx.process.pid)
    url = f"http://127.0.0.1:{nginx.port}"
    load = subprocess.run(["wrk", "-t1", "-c20", "-d2s", f"{url}/page"], capture_output=True, text=True, check=True)
    for path in ("page", "large", "absent"):
        subprocess.run(["curl", "-s", "-o", "/dev/null", f"{url}/{path}"], check=True)
    subprocess.run(["curl", "-s", "-g", "-o", "/dev/null", f"http://[::1]:{nginx.port}/large"], check=True)
    time.sleep(0.3)  # the last connections are closed
    records = lines(rover)
    account = nginx.account()
    assert int(load.stdout.split(" requests in")[0].rsplit(None, 1)[-1]) <= len(account)
    sent, received = (sum(entry[column] for entry in account) for column in (1, 2))
    assert total(records, "write", "bytes") == pytest.approx(sent, rel=0.001)
    assert total(records, "read", "bytes") == pytest.approx(received, rel=0.001)
    connections = len({entry[3] for entry in account})
    assert total(records, "connect", "calls") == pytest.approx(connections, abs=2)
    assert {record["role"] for record in records if record["type"] == "flow"} == {"server"}
    assert all(record["kept"] == record["expected"] for record in records if record["type"] == "interval")
    assert records[-1]["last"] is True


def test_curl_to_nginx_seen_from_both_sides(begin, nginx: Nginx) -> None:  # type: ignore[no-untyped-def]
    """Broken: of a client that lives for milliseconds nothing is seen, or not that it talks to the server."""
    rover = watching(begin, "--all")
    subprocess.run(["curl", "-s", "-o", "/dev/null", f"http://127.0.0.1:{nginx.port}/large"], check=True)
    time.sleep(0.3)
    flows = [record for record in lines(rover) if record["type"] == "flow" and record["transport"] == "tcp"]
    theirs = [record for record in flows if record["process"] == "curl"]
    ours = [record for record in flows if record["pid"] == nginx.process.pid]
    (entry,) = nginx.account()
    assert total(theirs, "read", "bytes") == total(ours, "write", "bytes") == entry[1]
    assert total(theirs, "write", "bytes") == total(ours, "read", "bytes") == entry[2]
    assert {record["peer"].get("pid") for record in theirs if record["figures"].get("read")} == {nginx.process.pid}


@pytest.mark.parametrize("way", ["UDP", "UNIX"])
def test_socat_over_datagrams_and_local_sockets(begin, tmp_path: Path, start, way: str) -> None:  # type: ignore[no-untyped-def]
    """Broken: traffic that is not TCP is not seen, or has another size."""
    if shutil.which("socat") is None:
        pytest.skip("socat is not installed")
    port, place = _free_port(), tmp_path / "socket"
    where = {"UDP": (f"UDP4-RECVFROM:{port},fork", f"UDP4:127.0.0.1:{port}"), "UNIX": ()}[way] or (
        f"UNIX-LISTEN:{place}",
        f"UNIX-CONNECT:{place}",
    )
    start("socat", "-u", where[0], f"CREATE:{tmp_path / 'received'}")
    time.sleep(0.5)
    rover = watching(begin, "--all")
    subprocess.run(["socat", "-u", "-", where[1]], input=b"z" * 1234, check=True, timeout=20)
    time.sleep(0.5)
    flows = [record for record in lines(rover) if record["type"] == "flow" and record["transport"] == way.lower()]
    socat = [record for record in flows if record["process"] == "socat"]
    assert total(socat, "write", "bytes") == total(socat, "read", "bytes") == 1234


def test_the_table(begin, rover, nginx: Nginx) -> None:  # type: ignore[no-untyped-def]
    """Broken: a person gets no table, or one without the other end."""
    watcher = watching(begin, "--pid", nginx.process.pid, "--format", "table")
    subprocess.run(["curl", "-s", "-o", "/dev/null", f"http://127.0.0.1:{nginx.port}/large"], check=True)
    watcher.send_signal(signal.SIGINT)
    output, errors = watcher.communicate(timeout=60)
    assert watcher.returncode == 0
    assert "nginx" in output
    assert "127.0.0.1" in output
    assert "all" in errors
    assert "events kept" in errors


def test_the_page(begin, nginx: Nginx, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Broken: a person gets no page, or one with other figures than the server's own."""
    page = tmp_path / "traffic.html"
    watcher = watching(begin, "--pid", nginx.process.pid, "--output", page)
    subprocess.run(["curl", "-s", "-o", "/dev/null", f"http://127.0.0.1:{nginx.port}/large"], check=True)
    time.sleep(0.3)
    watcher.send_signal(signal.SIGINT)
    _, errors = watcher.communicate(timeout=60)
    assert watcher.returncode == 0, errors
    (entry,) = nginx.account()
    assert sum(edge["toClient"] for edge in data_of(page.read_text())["edges"]) == entry[1]


def test_options_that_make_no_sense(rover) -> None:  # type: ignore[no-untyped-def]
    """Broken: a format of profiles is offered the connections, or a mistake is found after the work."""
    said = complaint(rover("profile", "network", "--format", "folded", "--duration", "1"), 2)
    assert "there is no format 'folded'" in said
    assert "json" in said
