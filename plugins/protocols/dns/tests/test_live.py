"""A real server and client through relays that see calls as the kernel ships them, against the server's own log."""

import doctest
import re
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from datagram_relay import DatagramRelay
from relay import Relay

from rover_core.api import WireProtocol
from rover_core.wire import Exchange

RECORDS = [
    "--local=/shop.test/", "--host-record=www.shop.test,10.0.0.1,fd00::1", "--cname=alias.shop.test,www.shop.test",
    "--mx-host=shop.test,mail.shop.test,10", "--srv-host=_http._tcp.shop.test,www.shop.test,80",
    *(f"--txt-record=big.shop.test,{number}{'x' * 240}" for number in range(12)),
]  # fmt: skip
QUERIES = ["www.shop.test A", "www.shop.test AAAA", "alias.shop.test A", "shop.test MX", "_http._tcp.shop.test SRV",
           "none.shop.test A", "big.shop.test TXT", "1.0.0.10.in-addr.arpa PTR", "elsewhere.org A"]  # fmt: skip


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """dnsmasq's port and its log."""
    if not shutil.which("dnsmasq") or not shutil.which("dig"):
        pytest.skip("dnsmasq and dig are not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = tmp_path / "log"
    options = ["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", f"--port={port}"]
    options += ["--listen-address=127.0.0.1", "--bind-interfaces", "--log-queries=extra", f"--log-facility={log}"]
    options += ["--user=root", "--pid-file="]
    process = subprocess.Popen([shutil.which("dnsmasq") or "", *options, *RECORDS])
    end = time.monotonic() + 20
    while not (log.exists() and "started" in log.read_text()) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    yield port, log
    process.terminate()
    process.wait(timeout=10)


def dig(port: int, *arguments: str) -> str:
    command = ["dig", "@127.0.0.1", "-p", str(port), "+noall", "+comments", *arguments]
    return subprocess.run(command, check=False, timeout=60, capture_output=True, text=True).stdout


def logged(log: Path) -> Counter[str]:
    """`A www.shop.test` for each query that the server got."""
    return Counter(f"{kind} {name}" for kind, name in re.findall(r"query\[(\S+)\] (\S+) from", log.read_text()))


def seen(exchanges: list[Exchange]) -> Counter[str]:
    questions = [each.request.detail.questions[0].name for each in exchanges if each.request]
    return Counter(f"{each.operation_class} {name}" for each, name in zip(exchanges, questions, strict=True))


@pytest.mark.parametrize("over_tcp", [False, True])
def test_exchanges_are_those_of_the_servers_log(
    protocol: WireProtocol, server: tuple[int, Path], over_tcp: bool
) -> None:
    """Broken: what real programs ask and are told is missed, doubled or misread."""
    target, log = ("127.0.0.1", server[0]), server[1]
    relay: Relay | DatagramRelay = Relay(protocol, target) if over_tcp else DatagramRelay(protocol, target)
    options = ["+tcp", "+keepopen"] if over_tcp else ["+ignore"]
    said = dig(relay.port, *options, *" ".join(QUERIES).split())
    found = relay.finish()
    assert all(each.complete for each in found)
    assert sum(seen(found).values()) == len(QUERIES)
    assert seen(found) == logged(log)
    statuses = re.findall(r"status: (\w+)", said)
    assert [each.status for each in found] == statuses
    assert {"NOERROR", "NXDOMAIN", "REFUSED"} <= set(statuses)
    assert [each.error for each in found] == [status == "REFUSED" for status in statuses]
    sizes = {each.operation: each.response_bytes for each in found}
    assert sizes["TXT big.shop.test"] > 2900 if over_tcp else sizes["TXT big.shop.test"] <= 1232


def test_what_is_cut_is_asked_again_over_tcp_and_what_is_lost_by_itself(
    protocol: WireProtocol, server: tuple[int, Path]
) -> None:
    """Broken: the two ways in which resolvers ask twice are not told from two questions."""
    target = ("127.0.0.1", server[0])
    stream = Relay(protocol, target)
    datagrams = DatagramRelay(protocol, target, stream.port, drop=1)
    values = {metric.name: metric.value for metric in protocol.metrics}
    dig(stream.port, "big.shop.test", "TXT")
    dig(stream.port, "+time=1", "+tries=2", "www.shop.test", "A")
    (whole,) = stream.finish()
    first, second, third = sorted(datagrams.finish(), key=lambda each: each.start_ns)
    assert (first.operation, values["truncated"](first), values["answers"](whole)) == ("TXT big.shop.test", 1, 12)
    assert (second.operation, values["unanswered"](second)) == ("A www.shop.test", 1)
    assert (third.operation, values["unanswered"](third), third.status) == ("A www.shop.test", 0, "NOERROR")


def test_the_readme_says_what_is_so() -> None:
    """Broken: the README's example prints something else."""
    readme = Path(__file__).parents[1] / "README.md"
    assert doctest.testfile(str(readme), module_relative=False).failed == 0
