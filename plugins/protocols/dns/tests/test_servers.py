"""BIND, unbound and dnsmasq under load, as `rover profile network` sees both ends of it, against what dnsperf, the
servers' logs and tshark say."""

import re
import shutil
import subprocess
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from dissector import recording
from name_servers import NameServer, name_server
from test_kernel import MOUNTED, RESOLVE, Counts, by_tshark
from watching import Watching

pytestmark = [pytest.mark.servers, pytest.mark.kernel]

NEEDED = ("named", "unbound", "dnsmasq", "dig", "dnsperf", "unshare", "tshark")
KINDS = ("named", "unbound", "dnsmasq")
QUERIES = ["www.shop.test A", "www.shop.test AAAA", "shop.test MX", "none.shop.test A", "elsewhere.org A",
           "WWW.shop.test A", "other.shop.test AAAA", "shop.test A"]  # fmt: skip
OUTSTANDING, ROUNDS = 64, 300
GIVEN_UP_S = 62  # an answer that has not come after a minute is not waited for


class Load(NamedTuple):
    """What one dnsperf was, and said. codes: of the answers."""

    kind: str
    pid: int
    sent: int
    completed: int
    codes: "Counter[str]"


class Ended(NamedTuple):
    """others: pids of dig and of the C library, by the server that they asked. alone: an agent that watched the
    silent server and nothing else."""

    rover: Watching
    alone: Watching
    servers: dict[str, NameServer]
    loads: list[Load]
    others: dict[str, list[int]]
    capture: Path


def load(kind: str, server: NameServer, address: str, questions: Path) -> Load:
    command = ["dnsperf", "-s", address, "-p", server.port, "-d", questions, "-n", ROUNDS, "-q", OUTSTANDING, "-c", 4]
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True)
    said = process.communicate(timeout=120)[0]
    sent, completed = (int(re.findall(rf"Queries {word}:\s+(\d+)", said)[0]) for word in ("sent", "completed"))
    codes = re.findall(r"(\w+) (\d+) \(", re.findall(r"Response codes:(.*)", said)[0])
    return Load(kind, process.pid, sent, completed, Counter({name: int(count) for name, count in codes}))


def resolved(folder: Path, address: str, *names: str) -> int:
    """The pid of a program that asks the C library. It asks twice, for a second each."""
    (folder / "resolv.conf").write_text(f"nameserver {address}\noptions attempts:2 timeout:1\n")
    command = ("unshare", "--mount", "sh", "-c", MOUNTED, folder / "resolv.conf", "python3", "-c", RESOLVE, *names)
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL)
    process.wait(60)
    return process.pid


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    if lacking := [each for each in NEEDED if not shutil.which(each)]:
        pytest.skip(f"not installed: {', '.join(lacking)}")
    folder = tmp_path_factory.mktemp("servers")
    questions = folder / "questions"
    questions.write_text("\n".join(QUERIES) + "\n")
    with ExitStack() as running:
        servers = {kind: running.enter_context(name_server(kind, folder / kind)) for kind in (*KINDS, "silent")}
        hosts = [f"host {each.address}" for each in servers.values() if each.address]
        which = " or ".join([*(f"port {each.port}" for each in servers.values()), *hosts])
        alone = running.enter_context(Watching(folder / "silent", "dns", (servers["silent"].pid,)))
        capture = folder / "live.pcap"
        with Watching(folder, "dns", buffer="16MB") as rover, recording(capture, f"udp and ({which})"):
            loads = [
                load(kind, servers[kind], address, questions) for kind in KINDS for address in ("127.0.0.1", "::1")
            ]
            others = {kind: [dug(servers[kind], address) for address in ("127.0.0.1", "::1")] for kind in KINDS}
            others["unbound"].append(resolved(folder, servers["unbound"].address, "www.shop.test", "none.shop.test"))
            others["silent"] = [resolved(folder, servers["silent"].address, "www.shop.test")]
        time.sleep(GIVEN_UP_S)
    return Ended(rover, alone, servers, loads, others, capture)


def dug(server: NameServer, address: str) -> int:
    command = ["dig", f"@{address}", "-p", str(server.port), "www.shop.test"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    process.wait(60)
    return process.pid


def asked(ended: Ended, kind: str) -> Counts:
    """What its clients asked, by the agent."""
    pids = [*(each.pid for each in ended.loads if each.kind == kind), *ended.others[kind]]
    return sum((ended.rover.counted(role="client", pid=pid) for pid in pids), Counter())


@pytest.mark.parametrize("kind", KINDS)
def test_both_ends_of_every_query(ended: Ended, kind: str) -> None:
    """Broken: queries that came many in one call, or their answers, are lost, doubled, or another's."""
    server = ended.servers[kind]
    found = ended.rover.counted(role="server", pid=server.pid)
    assert found == asked(ended, kind)
    operations: Counter[str] = Counter()
    for (operation, _), count in found.items():
        operations[operation] += count
    assert operations == server.logged()


@pytest.mark.parametrize("kind", KINDS)
def test_the_load_generators_own_account(ended: Ended, kind: str) -> None:
    """Broken: under load the agent sees fewer queries than were sent, or other codes than came."""
    for each in ended.loads:
        if each.kind == kind:
            assert each.sent == each.completed == ROUNDS * len(QUERIES)
            codes: Counter[str] = Counter()
            for (_, status), count in ended.rover.counted(role="client", pid=each.pid).items():
                codes[status] += count
            assert codes == each.codes


def test_bind_takes_many_at_once(ended: Ended) -> None:
    """Broken: the load is none, and nothing was shown about calls of many datagrams."""
    server = ended.servers["named"]
    flows = [each for each in ended.rover.records if each["type"] == "flow" and each["pid"] == server.pid]
    reads = sum(each["figures"]["read"]["calls"] for each in flows if "read" in each["figures"])
    assert 0 < reads < sum(server.logged().values()) / 2


def test_an_independent_dissector_sees_the_same(ended: Ended) -> None:
    """Broken: answers are reported that were not on the wire, or with other codes."""
    for kind in KINDS:
        _, port, address, *_ = ended.servers[kind]
        which = f"udp.port == {port}" + (f" || ip.addr == {address}" if address else "")
        assert asked(ended, kind) == by_tshark(ended.capture, port, which), kind


def test_queries_that_nobody_answers(ended: Ended) -> None:
    """Broken: what a client asked twice and in vain is not counted, on its side or on the server's."""
    pid = ended.others["silent"][0]
    for rover, end in (ended.rover, {"role": "client", "pid": pid}), (ended.alone, {"role": "server"}):
        assert rover.counted(**end) == {("A www.shop.test", ""): 2, ("AAAA www.shop.test", ""): 2}
        metrics = [each["metrics"] for each in rover.operations(**end)]
        for name, count in (("retries", 2), ("unanswered", 4)):
            assert sum(each[name]["total"] for each in metrics) == count


def test_nothing_is_said_to_be_lost(ended: Ended) -> None:
    """Broken: the agent reports losses where there are none. Other programs of the host may be gone before their
    unanswered queries are given up."""
    intervals = [each for each in ended.rover.records if each["type"] == "interval"]
    assert intervals
    assert set().union(*(each["lost"] for each in intervals)) <= {"process gone"}
