"""A web server that nobody here wrote, its own account of what it did, and a Rover that watches it."""

import json
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from end_to_end import until

NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors; worker_rlimit_nofile 4096;
events {{ worker_connections 1024; }}
http {{
    log_format account '$status $bytes_sent $request_length $connection $request_time $request_method $uri';
    access_log {folder}/log account;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi; keepalive_requests 100000;
    server {{
        listen 127.0.0.1:{port}; listen [::1]:{port}; root {folder}; location / {{ sendfile {sendfile}; }}
        location /slowly {{ limit_rate 1500k; alias {folder}/large; }}
        location /zipped {{ gzip on; gzip_types *; alias {folder}/words; }}
        location /taken {{ return 200 "thanks"; }}
        location /broken {{ return 500 "sorry"; }}
    }}
}}
"""


class Nginx:
    """A server with an account of all it sent, in its access log."""

    def __init__(self, folder: Path, sendfile: str = "on", program: str | Path = "nginx") -> None:
        self.port = free_port()
        self.log = folder / "log"
        (folder / "page").write_bytes(b"x" * 1400)
        (folder / "words").write_text("a few words, again and again; " * 500)
        (folder / "large").write_bytes(b"y" * 3_000_000)
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=self.port, sendfile=sendfile))
        folder.chmod(0o755)
        self.process = subprocess.Popen([program, "-c", str(folder / "nginx.conf")])
        until(self._answers)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def account(self) -> list[list[int]]:
        """[status, bytes sent, request length, connection] of each request."""
        return [[int(word) for word in line.split()[:4]] for line in self.log.read_text().splitlines()]

    def requests(self) -> list[tuple[str, str, float]]:
        """(operation, status, seconds) of each request."""
        words = [line.split() for line in self.log.read_text().splitlines()]
        return [(f"{method} {uri}", status, float(time)) for status, _, _, _, time, method, uri in words]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def watching(begin: Callable[..., "subprocess.Popen[str]"], *arguments: object) -> "subprocess.Popen[str]":
    """A `rover profile network` that has begun to count."""
    rover = begin("profile", "network", "--duration", "0", "--log-level", "info", *arguments)
    seen = []
    assert rover.stderr is not None
    for text in rover.stderr:
        seen.append(text)
        if "task started" in text:
            return rover
    raise AssertionError(seen)


def lines(rover: "subprocess.Popen[str]") -> list[dict[str, Any]]:
    """What it says when it is interrupted, line by line."""
    rover.send_signal(signal.SIGINT)
    output, errors = rover.communicate(timeout=60)
    assert rover.returncode == 0, errors
    return [json.loads(text) for text in output.splitlines()]


def exchanges(records: list[dict[str, Any]], **which: object) -> "Counter[tuple[str, str]]":
    """How many of each operation and status."""
    counts: Counter[tuple[str, str]] = Counter()
    for record in records:
        if record["type"] == "operation" and all(record[name] == value for name, value in which.items()):
            counts.update({(record["operation"], status): count for status, count in record["statuses"].items()})
    return counts
