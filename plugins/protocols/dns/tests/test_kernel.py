"""What `rover profile network` says of BIND, dig and the C library, against what they and tshark say themselves."""

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from bind_server import Bind, bind, dnsmasq, missing
from dissector import dissected, recording
from watching import Watching

pytestmark = pytest.mark.kernel

QUERIES = ["www.shop.test A", "www.shop.test AAAA", "alias.shop.test A", "shop.test MX", "_http._tcp.shop.test SRV",
           "none.shop.test A", "big.shop.test TXT", "elsewhere.org A"]  # fmt: skip
WAYS = {"udp": ["+ignore"], "tcp": ["+tcp", "+keepopen"], "tls": ["+tls", "+keepopen"], "retry": []}
"""How dig asks; the last asks again over TCP for what was cut."""
RESOLVE = """
import socket, sys
for name in sys.argv[1:]:
    try:
        print(*sorted({each[4][0] for each in socket.getaddrinfo(name, 80)}))
    except socket.gaierror as error:
        print(error)
"""
MOUNTED = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
"""What the C library asks is written in one file."""
Counts = Counter[tuple[str, str]]


class Ended(NamedTuple):
    """said: what each dig printed, by its way; resolved: what the C library found, a line for each name."""

    rover: Watching
    server: Bind
    pids: dict[str, int]
    said: dict[str, str]
    resolved: list[str]
    capture: Path


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    if lacking := missing():
        pytest.skip(f"not installed: {', '.join(lacking)}")
    folder = tmp_path_factory.mktemp("dns")
    pids: dict[str, int] = {}

    def ran(name: str, *command: object) -> str:
        process = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True)
        pids[name] = process.pid
        return process.communicate(timeout=60)[0]

    with bind(folder) as server, dnsmasq() as address:
        (folder / "resolv.conf").write_text(f"nameserver {address}\noptions timeout:5\n")
        capture = folder / "live.pcap"
        with Watching(folder, "dns") as rover, recording(capture, f"port {server.port} or host {address}"):
            said = {}
            for way, options in WAYS.items():
                port = server.secure if way == "tls" else server.port
                questions = " ".join(QUERIES if way != "retry" else ["big.shop.test TXT"]).split()
                said[way] = ran(
                    way, "dig", "@127.0.0.1", "-p", port, "+noall", "+comments", "+noedns", *options, *questions
                )
            names = ("www.shop.test", "alias.shop.test", "none.shop.test")
            resolve = ("python3", "-c", RESOLVE, *names)
            mounted = ("sh", "-c", MOUNTED, folder / "resolv.conf")
            resolved = ran("glibc", "unshare", "--mount", *mounted, *resolve).splitlines()
        yield Ended(rover, server, pids, said, resolved, capture)


def test_every_query_is_told_once_with_its_answer(ended: Ended) -> None:
    """Broken: between the kernel and the report queries are lost, doubled or misread, over UDP, TCP or TLS."""
    operations = [" ".join(reversed(each.split())) for each in QUERIES]
    for way in ("udp", "tcp", "tls"):
        statuses = re.findall(r"status: (\w+)", ended.said[way])
        assert {"NOERROR", "NXDOMAIN", "REFUSED"} <= set(statuses)
        expected = Counter(zip(operations, statuses, strict=True))
        for each in ({"role": "client", "pid": ended.pids[way]}, {"role": "server", "peer": ended.pids[way]}):
            assert ended.rover.counted(**each) == expected, way
            assert ended.rover.counted(**each, ssl=way == "tls") == expected, way
            assert ended.rover.errors(**each) == statuses.count("REFUSED")


def test_what_was_cut_is_asked_again_over_tcp(ended: Ended) -> None:
    """Broken: nobody sees that every long answer costs two queries."""
    found = ended.rover.operations(role="client", pid=ended.pids["retry"])
    cut = {each["transport"]: each["metrics"]["truncated"]["mean"] for each in found}
    assert cut == {"udp": 1, "tcp": 0}
    assert ended.rover.counted(pid=ended.pids["retry"]) == {("TXT big.shop.test", "NOERROR"): 2}


def test_the_c_librarys_queries(ended: Ended) -> None:
    """Broken: of the two questions that programs ask at once, from one socket, one is missed or has the
    other's answer."""
    assert ended.resolved[:2] == ["10.0.0.1 fd00::1"] * 2
    asked: Counts = Counter()
    for name, status in (("www", "NOERROR"), ("alias", "NOERROR"), ("none", "NXDOMAIN")):
        asked.update({(f"{kind} {name}.shop.test", status): 1 for kind in ("A", "AAAA")})
    for ends in ({"role": "client", "pid": ended.pids["glibc"]}, {"role": "server", "peer": ended.pids["glibc"]}):
        assert ended.rover.counted(**ends) == asked


def test_the_server_logged_the_same(ended: Ended) -> None:
    """Broken: what clients are said to have asked is not what the server was asked."""
    mine: Counter[str] = Counter()
    for way in WAYS:
        for (operation, _), count in ended.rover.counted(role="client", pid=ended.pids[way]).items():
            mine[operation] += count
    assert mine == ended.server.logged()


def test_an_independent_dissector_sees_the_same(ended: Ended) -> None:
    """Broken: queries are reported that were not on the wire, or with other codes than were."""
    told = by_tshark(ended.capture, ended.server.port)
    assert sum(told.values()) > 20
    asked = (ended.rover.counted(role="client", pid=pid, ssl=False) for pid in ended.pids.values())
    assert sum(asked, Counter()) == told


def by_tshark(capture: Path, port: int, which: str = "udp or tcp") -> Counts:
    """Operations and codes of what was not encrypted, as tshark sees them. which: a filter of its own."""
    codes = {"0": "NOERROR", "3": "NXDOMAIN", "5": "REFUSED"}
    types = {"1": "A", "15": "MX", "16": "TXT", "28": "AAAA", "33": "SRV"}
    options = ["-Y", f"dns.flags.response == 1 && ({which})", "-T", "fields"]
    options += [word for field in ("qry.type", "qry.name", "flags.rcode") for word in ("-e", f"dns.{field}")]
    options += [word for kind in ("tcp", "udp") for word in ("-d", f"{kind}.port=={port},dns")]
    text = dissected(capture, *options)
    found: Counts = Counter()
    for line in text.splitlines():
        for kind, name, code in zip(*(each.split(",") for each in line.split("\t")), strict=True):
            found[f"{types[kind]} {name.lower()}", codes[code]] += 1
    return found
