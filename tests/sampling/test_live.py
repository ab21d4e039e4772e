"""Samples of what nginx and curl said to each other, against nginx's own log."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from relay import Relay

from rover_core.model import SampledExchange
from rover_http1 import plugin
from rover_network.rules import parse_rules
from rover_network.sampling import Sampler, Source

(HTTP,) = plugin.rover_protocols()
ME = 1
TRACE = "0af7651916cd43dd8448eb211c80319c"
JSON = '{"name": "Grüße", "password": "hunter2", "rows": [' + ", ".join(map(str, range(600))) + "]}"
NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 100; }}
http {{
    log_format account '$status $request_time $uri';
    access_log {folder}/log account;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    types {{ application/json json; text/plain txt; image/png png; }}
    gzip on; gzip_types application/json; gzip_min_length 100;
    server {{
        listen 127.0.0.1:{port}; root {folder}; add_header Set-Cookie "session=hunter2" always;
        location /broken {{ return 503 "come back later"; }}
        location /slow {{ limit_rate 40k; alias {folder}/large.txt; }}
    }}
}}
"""


class Nginx:
    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.log = folder / "log"
        (folder / "data.json").write_text(JSON)
        (folder / "page.txt").write_text("a page")
        (folder / "large.txt").write_bytes(b"y" * 60_000)
        (folder / "dot.png").write_bytes(bytes(90))
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=self.port))
        folder.chmod(0o755)
        self.process = subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf")])
        end = time.monotonic() + 20
        while not self._answers():
            assert time.monotonic() < end, (folder / "errors").read_text()
            time.sleep(0.05)

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def account(self) -> list[tuple[str, float, str]]:
        """Status, seconds and path of each request."""
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return [(status, float(seconds), path) for status, seconds, path in lines]


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    if not (shutil.which("nginx") and shutil.which("curl")):
        pytest.skip("nginx or curl is not installed")
    folder = tmp_path / "nginx"
    folder.mkdir()
    tmp_path.chmod(0o755)
    server = Nginx(folder)
    yield server
    server.process.terminate()
    server.process.wait(20)


def sampled(nginx: Nginx, rules: str, *arguments: str) -> list[SampledExchange]:
    """What is sampled while curl asks for these."""
    sampler: Sampler[str] = Sampler()
    sampler.assign("task", parse_rules(rules), [ME])
    relay = Relay(HTTP, ("127.0.0.1", nginx.port), sampler.content)
    urls = [each.format(f"http://127.0.0.1:{relay.port}") for each in arguments]
    headers = ["-H", f"traceparent: 00-{TRACE}-b7ad6b7169203331-01", "-u", "me:hunter2", "-b", "a=hunter2"]
    subprocess.run(
        ["curl", "--silent", "--globoff", "--max-time", "60", "--compressed", *headers, *urls],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=90,
    )
    for exchange in relay.finish():
        sampler.offer(exchange, Source(ME, "flow", HTTP))
    return [taken.exchange for taken in sampler.take()]


def test_what_is_sampled_is_what_the_servers_log_says(nginx: Nginx) -> None:
    """Broken: slow or failed requests of real programs are missing, others are told, or their times are wrong."""
    urls = [f"{{}}/page.txt?n={n}" for n in range(20)] + ["{}/none", "{}/broken?token=hunter2", "{}/slow"]
    found = sampled(nginx, "slow>400ms,4xx,5xx", *urls)
    account = nginx.account()
    assert len(account) == len(urls)
    reasons = {"404": "status_4xx", "503": "status_5xx"}
    expected = {(reasons.get(status, "slow"), path) for status, s, path in account if status in reasons or s > 0.4}
    told = {(each.reason, each.subject): each for each in found}
    assert {("status_4xx", "/none"), ("status_5xx", "/broken"), ("slow", "/slow")} <= set(told)
    assert expected <= set(told)  # the relay may have been slow too
    for status, seconds, path in account:
        if (reasons.get(status, "slow"), path) in told:
            assert told[reasons.get(status, "slow"), path].duration_ns > (seconds - 0.01) * 1e9
    assert {each.trace.trace_id for each in found if each.trace} == {TRACE}
    assert abs(told["slow", "/slow"].end_ns - time.time_ns()) < 60e9


def test_messages_are_shown_without_their_secrets(nginx: Nginx) -> None:
    """Broken: what curl and nginx said is unreadable, cut, or has the password in it."""
    found = {
        each.subject: each for each in sampled(nginx, "slow>0s", "{}/data.json?api_key=hunter2&a=1", "{}/dot.png")
    }
    data = found["/data.json"]
    assert data.request
    assert data.response
    assert data.request.text.startswith("GET /data.json?api_key=[redacted]&a=1 HTTP/1.1\nHost: 127.0.0.1:")
    head, _, body = data.response.text.partition("\n\n")
    assert "Content-Encoding: gzip" in head
    assert "Transfer-Encoding: chunked" in head
    assert body == JSON.replace("hunter2", "[redacted]")
    assert found["/dot.png"].response
    assert found["/dot.png"].response.text.endswith("\n\n[not plain, current content type: image/png]")
    for each in found.values():
        for message in (each.request, each.response):
            assert message
            assert "hunter2" not in message.text
            assert "bWU6aHVudGVyMg" not in message.text  # in base 64
