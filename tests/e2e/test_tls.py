"""Encrypted requests as `rover profile network` tells them."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from https import TlsNginx, make_certificate
from nginx import lines, watching
from programs import go

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


def test_a_file_that_cannot_be_probed_is_named_once(begin, rover, build, start, server: TlsNginx) -> None:  # type: ignore[no-untyped-def]
    """Broken: nobody is told why nothing is read of a program, or everybody again and again; or it stops others."""
    plain = build("https.c", "-static", "-lssl", "-lcrypto")
    stripped = plain.with_name("stripped")
    subprocess.run(["strip", "-o", stripped, plain], check=True)
    notes = subprocess.run(["readelf", "-n", stripped], check=True, capture_output=True, text=True).stdout
    build_id = notes.partition("Build ID: ")[2].split()[0]
    programs = [start(each, str(server.port), "/page", "/absent") for each in (stripped, stripped, plain)]
    pids = [word for each in programs for word in ("--pid", each.pid)]
    watched = begin("profile", "network", *pids, "--duration", "0", "--log-level", "info")
    assert watched.stderr is not None
    said = []
    for text in watched.stderr:
        said.append(text)
        if "task started" in text:
            break
    for each in programs:
        go(each)
        assert each.stdout.read(11) == "ready\ndone\n"
    time.sleep(2.5)  # more than an interval
    watched.send_signal(signal.SIGINT)
    output, errors = watched.communicate(timeout=60)
    said += errors.splitlines()
    records = [json.loads(text) for text in output.splitlines()]
    reason = "the names of its functions are not"
    (warning,) = [text for text in said if "TLS is not read" in text]
    assert all(word in warning for word in (str(stripped), build_id, reason))
    asked = [each for each in records if each["type"] == "operation" and each["role"] == "client"]
    assert {each["pid"] for each in asked} == {programs[2].pid}
    assert all(each["ssl"] for each in records if each["type"] == "flow" and each["transport"] == "tcp")
    told = [each["attributes"].get("TLS not read", "") for each in records if each["type"] == "interval"]
    assert all(note.count(build_id) == 1 for note in told), told
    for health, each in (("warning", programs[0]), ("ok", programs[2])):
        findings = json.loads(rover("doctor", "--pid", each.pid, "--json").stdout)
        (finding,) = [each for each in findings if each["name"].startswith("TLS")]
        assert finding["health"] == health
        assert (str(stripped) in finding["detail"], reason in finding["detail"]) == (health == "warning",) * 2
        assert build_id in finding["detail"]
