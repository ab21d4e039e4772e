"""`rover profile network` against servers and clients that nobody here wrote, and their own accounts."""

import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from end_to_end import complaint
from nginx import Nginx, free_port, lines, watching
from pages import data_of

pytestmark = pytest.mark.kernel


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
    intervals = [record for record in records if record["type"] == "interval"]
    assert total(records, "write", "bytes") == pytest.approx(sent, rel=0.001), intervals
    assert total(records, "read", "bytes") == pytest.approx(received, rel=0.001)
    connections = len({entry[3] for entry in account})
    assert total(records, "connect", "calls") == pytest.approx(connections, abs=2)
    assert {record["role"] for record in records if record["type"] == "flow"} == {"server"}
    assert all(record["kept"] + sum(record["lost"].values()) == record["expected"] for record in intervals)
    assert not any(record["lost"].get("map full") for record in intervals)  # requests may be: see test_http1.py
    assert records[-1]["last"] is True


def test_curl_to_nginx_seen_from_both_sides(begin, nginx: Nginx) -> None:  # type: ignore[no-untyped-def]
    """Broken: of a client that lives for milliseconds nothing is seen, or not that it talks to the server; or the
    agent's talk with its own workers is taken for the host's."""
    rover = watching(begin, "--all")
    subprocess.run(["curl", "-s", "-o", "/dev/null", f"http://127.0.0.1:{nginx.port}/large"], check=True)
    time.sleep(0.3)
    records = [record for record in lines(rover) if record["type"] == "flow"]
    assert rover.pid not in {record["pid"] for record in records}
    assert "rover-worker" not in {record["process"] for record in records}
    flows = [record for record in records if record["transport"] == "tcp"]
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
    port, place = free_port(), tmp_path / "socket"
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
    assert "events kept" in errors  # all, or how many


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
