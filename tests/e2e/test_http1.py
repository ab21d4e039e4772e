"""Requests as `rover profile network` sees them, against the access log of the server that answered them."""

import subprocess
import time
from collections import Counter
from typing import Any

import pytest
from nginx import Nginx, exchanges, lines, watching

pytestmark = pytest.mark.kernel


def steps(records: list[dict[str, Any]]) -> "Counter[str]":
    total: Counter[str] = Counter()
    for record in records:
        if record["type"] == "interval":
            total.update(record["steps"])
    return total


def test_curl_s_requests_are_those_of_the_log(begin, nginx: Nginx) -> None:  # type: ignore[no-untyped-def]
    """Broken: what curl asks in any way it knows is missed or doubled, on either side, or has another status."""
    rover = watching(begin, "--all")
    base = f"http://127.0.0.1:{nginx.port}"
    for options in (
        [f"{base}/page", f"{base}/large", f"{base}/absent", f"{base}/page"],
        ["-I", f"{base}/large"],
        ["-r", "100-200", f"{base}/large"],
        ["-X", "POST", "-d", "x" * 5000, f"{base}/page"],
        ["-X", "DELETE", f"{base}/page"],
        ["--http1.0", f"{base}/page"],
        ["--limit-rate", "6M", f"{base}/large"],
    ):
        subprocess.run(["curl", "-s", "-o", "/dev/null", *options], check=True, stdout=subprocess.DEVNULL, timeout=60)
    time.sleep(0.5)
    records = lines(rover)
    log = nginx.requests()
    logged = Counter((operation, status) for operation, status, _ in log)
    assert len(log) == 10
    assert exchanges(records, pid=nginx.process.pid, role="server") == logged
    assert exchanges(records, process="curl", role="client") == logged
    mine = [each for each in records if each["type"] == "operation" and each["process"] == "curl"]
    assert {each["peer"].get("pid") for each in mine} == {nginx.process.pid}
    assert {each["protocol"] for each in mine} == {"http1"}
    served = [each for each in records if each["type"] == "operation" and each["pid"] == nginx.process.pid]
    seen = sum(each["duration_ns"]["mean"] * each["duration_ns"]["count"] for each in served) / 1e9
    assert seen == pytest.approx(sum(seconds for *_, seconds in log), abs=0.01 * len(log))
    sent = sum(each["response_bytes"]["mean"] * each["response_bytes"]["count"] for each in served)
    assert sent == pytest.approx(sum(entry[1] for entry in nginx.account()), rel=0.001)


def test_nginx_under_load_to_the_last_request(begin, nginx: Nginx) -> None:  # type: ignore[no-untyped-def]
    """Broken: requests go missing under load and nobody says so, or there are more than there were."""
    rover = watching(begin, "--pid", nginx.process.pid)
    command = ["wrk", "-t1", "-c10", "-d2s", f"http://127.0.0.1:{nginx.port}/page"]
    subprocess.run(command, capture_output=True, check=True, timeout=60)
    time.sleep(0.5)
    records = lines(rover)
    logged = Counter((operation, status) for operation, status, _ in nginx.requests())
    seen, told = exchanges(records, role="server"), steps(records)
    whole = seen[("GET /page", "200")]
    # wrk ends in the middle of things: what it no longer reads may be in the log and not on the wire, or the reverse.
    assert whole <= logged[("GET /page", "200")] + 10
    if not told["records lost, ring full"]:
        assert whole >= logged[("GET /page", "200")] - 10
    else:  # a machine too busy to read: then that is what is said
        assert sum(record["lost"].get("ring full", 0) for record in records if record["type"] == "interval") > 0
    assert told["exchanges"] == sum(seen.values())
    assert told["records read"] + told["records lost, ring full"] >= told["calls captured"]


@pytest.mark.parametrize("fast", [True, False])
def test_the_fast_path_counts_what_the_log_has(begin, nginx: Nginx, fast: bool) -> None:  # type: ignore[no-untyped-def]
    """Broken: what is counted in the kernel is not what was asked, or is lost; or it cannot be turned off."""
    setting = f"profiling.task.network.protocol_analyze.fast_path={str(fast).lower()}"
    rover = watching(begin, "--pid", nginx.process.pid, "--set", setting)
    base = f"http://127.0.0.1:{nginx.port}"
    quiet = ["curl", "-s", "-o", "/dev/null"]
    for options in (
        [f"{base}/page?n=[1-1500]"],  # over one connection
        [f"{base}/absent/[1-300]"],
        ["-I", f"{base}/large?n=[1-20]"],
        ["-X", "POST", "-d", "x" * 5000, f"{base}/page?n=[1-20]"],
        [f"{base}/large"],
    ):
        subprocess.run([*quiet, *options], check=True, stdout=subprocess.DEVNULL, timeout=60)
    time.sleep(0.5)
    records = lines(rover)
    told = steps(records)
    lost = Counter[str]()
    for record in records:
        lost.update(record["lost"] if record["type"] == "interval" else {})
    seen, log = exchanges(records, role="server"), nginx.requests()
    expected = {
        ("GET /page", "200"): 1500,
        ("GET /absent/{}", "404"): 300,
        ("HEAD /large", "200"): 20,
        ("POST /page", "405"): 20,
        ("GET /large", "200"): 1,
    }
    assert len(log) == sum(expected.values())
    if fast:
        assert seen == expected
        assert not lost
        assert told["exchanges counted in the kernel"] > 1800
        assert told["calls captured"] < 200
    else:
        assert not told["exchanges counted in the kernel"]
        if not lost:  # a machine too busy to read loses, and says so
            assert seen == expected
    served = [each for each in records if each["type"] == "operation"]
    if not lost:
        sent = sum(each["response_bytes"]["mean"] * each["response_bytes"]["count"] for each in served)
        assert sent == pytest.approx(sum(entry[1] for entry in nginx.account()))
        took = sum(each["duration_ns"]["mean"] * each["duration_ns"]["count"] for each in served) / 1e9
        assert took == pytest.approx(sum(seconds for *_, seconds in log), abs=0.001 * len(log))


def test_a_table_of_operations(begin, nginx: Nginx) -> None:  # type: ignore[no-untyped-def]
    """Broken: a person sees connections and not what was asked over them."""
    rover = watching(begin, "--pid", nginx.process.pid, "--format", "table")
    base = f"http://127.0.0.1:{nginx.port}"
    subprocess.run(["curl", "-s", "-o", "/dev/null", f"{base}/page", f"{base}/absent"], check=True, timeout=60)
    time.sleep(0.3)
    rover.send_signal(2)
    output, errors = rover.communicate(timeout=60)
    assert rover.returncode == 0, errors
    assert "GET /page" in output
    assert "GET /absent" in output
    assert "p99" in output
