"""Encrypted requests as `rover profile network` tells them."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from https import TlsNginx, make_certificate
from nginx import lines, watching

pytestmark = pytest.mark.kernel


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TlsNginx]:
    folder = tmp_path / "server"
    folder.mkdir()
    make_certificate(folder)
    made = TlsNginx(folder)
    yield made
    made.close()


def test_https_is_told_like_http_and_that_it_is_encrypted(begin, rover, server: TlsNginx) -> None:  # type: ignore[no-untyped-def]
    """Broken: what is over TLS has no operations or samples, or is not said to be; or the store forgets it."""
    watched = watching(begin, "--all", "--sample", "4xx")
    pages = [f"https://127.0.0.1:{server.port}/{page}" for page in ("page", "absent", "page")]
    with subprocess.Popen(["curl", "-sk", "--http1.1", "-o", "/dev/null", *pages], stdout=subprocess.DEVNULL) as curl:
        assert curl.wait(30) == 0
    time.sleep(0.5)
    records = lines(watched)
    for pid, role in ((server.process.pid, "server"), (curl.pid, "client")):
        mine = [each for each in records if each.get("pid") == pid and each.get("transport", "tcp") == "tcp"]
        asked = {each["operation"]: each for each in mine if each["type"] == "operation" and each["role"] == role}
        assert {name: each["statuses"] for name, each in asked.items()} == {
            "GET /page": {"200": 2},
            "GET /absent": {"404": 1},
        }
        assert all(each["ssl"] for each in mine if each["type"] in ("operation", "flow"))
        (sample,) = [each for each in mine if each["type"] == "sample"]
        assert sample["ssl"] is True
        assert sample["request"]["text"].startswith("GET /absent HTTP/1.1\n")
    assert rover("doctor", "--pid", server.process.pid, "--json").stdout.count("read by 6 probes") == 1
