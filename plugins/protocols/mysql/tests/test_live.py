"""MariaDB's server with its own client and library, and Python's drivers: what each of them says that it did."""

import doctest
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from captures import flows
from classifying import Classify, directed
from dissector import recording
from mysql_accounts import found
from mysql_listening import by_tshark, fields
from mysql_programs import driven, on_both_sides, work
from mysql_server import mariadb, missing
from relay import Relay
from watching import Watching

from rover_core.api import WireProtocol

HERE = Path(__file__).parent
Start = Callable[..., "subprocess.Popen[str]"]
DRIVERS = ("pymysql", "mysqlclient", "connector", "connector-compressed", "statements")
ENCRYPTED = ("pymysql-tls", "mysqlclient-tls", "connector-tls")
LARGE, SMALL = 17 << 20, 3000
SCRIPT = """
DROP TABLE IF EXISTS t;
CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(100));
INSERT INTO t VALUES (1, 'secret'), (2, 'other'), (3, NULL);
SELECT * FROM t WHERE id > 1;
SELECT seq, REPEAT('x', 40) FROM seq_1_to_2000;
UPDATE t SET name = 'new' WHERE id IN (1, 2);
SELECT * FROM missing;
PREPARE s FROM 'SELECT name FROM t WHERE id = ?';
SET @id = 1;
EXECUTE s USING @id;
DELETE FROM t WHERE name = "new";
SELECT 'it''s', -1.5e3, 0xFF /* a comment */;
"""
ROWS = {"SELECT * FROM t WHERE id > ?": 2, "SELECT seq, REPEAT(?) FROM seq_1_to_2000": 2000, "EXECUTE s USING @id": 1}

MISTAKES = {
    # An uploaded file's first byte, the digit 1, which the dissector takes for a command.
    ("mysql.command", "49"),
    # MariaDB's report of how far it is: https://mariadb.com/kb/en/err_packet/. No error follows in that answer.
    ("mysql.error_code", "65535"),
}
"""Where the dissector is wrong. Of compressed packets it reads none that really are compressed."""


class Server(NamedTuple):
    port: int
    pid: int
    folder: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if lacking := missing():
        pytest.skip(f"not installed: {', '.join(lacking)}")
    folder = tmp_path_factory.mktemp("mariadb")
    with mariadb(folder) as (port, pid):
        yield Server(port, pid, folder)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`statements.c` with MariaDB's library."""
    if not shutil.which("mariadb_config"):
        pytest.skip("not installed: libmariadb-dev")
    made = tmp_path_factory.mktemp("statements") / "statements"
    flags = subprocess.run(["mariadb_config", "--include", "--libs"], check=True, capture_output=True, text=True)
    command = ["gcc", "-O1", "-o", str(made), str(HERE / "statements.c"), *flags.stdout.split()]
    subprocess.run(command, check=True, timeout=60)
    return made


@pytest.fixture
def client(start: Start, program: Path, tmp_path: Path) -> Start:
    """client(driver, port, largest) starts one that waits for a line."""

    def run(driver: str, port: int, largest: int) -> "subprocess.Popen[str]":
        alone = [program, str(port)]
        return start(*(alone if driver == "statements" else driven(driver, port, tmp_path, largest)))

    return run


@pytest.mark.parametrize("driver", DRIVERS)
def test_exchanges_are_those_of_the_drivers_account(
    protocol: WireProtocol, server: Server, client: Start, driver: str
) -> None:
    """Broken: what real programs say to each other is missed, doubled or misread, or values are shown."""
    relay = Relay(protocol, ("127.0.0.1", server.port))
    account = work(client(driver, relay.port, LARGE))
    exchanges = [each for each in relay.finish() if each.operation != "SEND_LONG_DATA"]
    assert found(exchanges, account) == account
    assert len(account) > 20
    assert "s3cr3t" not in repr([each.operation for each in exchanges])


@pytest.mark.parametrize("options", [(), ("--compress",)], ids=["plain", "compressed"])
def test_exchanges_are_those_of_the_servers_log(
    protocol: WireProtocol, server: Server, options: tuple[str, ...]
) -> None:
    """Broken: what the server's own client asks is missed, doubled or misread, or values are shown."""
    log = server.folder / "log"
    before = log.stat().st_size
    relay = Relay(protocol, ("127.0.0.1", server.port))
    command = ["mariadb", "--no-defaults", "-uroot", "--host=127.0.0.1", f"--port={relay.port}", "--force"]
    command += ["--skip-ssl", "shop"]
    said = subprocess.run(
        [*command, *options], input=SCRIPT, text=True, check=False, timeout=60, capture_output=True, errors="replace"
    )
    exchanges = relay.finish()
    assert all(each.paired for each in exchanges if each.operation != "QUIT"), exchanges
    statements = [each for each in exchanges if " " in each.operation]
    lines = log.read_text(errors="replace")[before:]
    assert len(statements) == len(re.findall(r"\bQuery\t", lines)), (lines, [each.operation for each in exchanges])
    assert [each.status for each in exchanges if each.error] == re.findall(r"ERROR (\d+ \(\w+\))", said.stderr)
    shown = " ".join(each.operation for each in exchanges)
    assert not re.search(r"secret|other|new|it's|comment", shown)
    rows = {metric.name: metric.value for metric in protocol.metrics}["rows"]
    assert {each.operation: rows(each) for each in exchanges if each.operation in ROWS and each.complete} == {
        name: count for name, count in ROWS.items() if options or count < 2000
    }
    changed = {metric.name: metric.value for metric in protocol.metrics}["affected_rows"]
    assert [changed(each) for each in exchanges if each.operation_class in ("INSERT", "UPDATE", "DELETE")] == [
        3,
        2,
        2,
    ]


@pytest.mark.kernel
def test_the_agent_sees_every_exchange_once_on_both_sides_and_the_dissector_the_same(
    classify: Classify, server: Server, client: Start, tmp_path: Path
) -> None:
    """Broken: between the kernel and the report exchanges are lost, doubled, or come under another name; or
    messages are cut otherwise than by an independent reader of the same packets."""
    large = [client(driver, server.port, LARGE) for driver in ("pymysql", "connector-compressed")]
    encrypted = [client(driver, server.port, SMALL) for driver in ENCRYPTED]
    small = [client(driver, server.port, SMALL) for driver in DRIVERS]
    with Watching(tmp_path, "mysql", [server.pid, *(each.pid for each in (*large, *encrypted, *small))]) as rover:
        accounts = {each.pid: work(each) for each in (*large, *encrypted)}
        with recording(tmp_path / "live.pcap", f"tcp port {server.port}"):
            accounts |= {each.pid: work(each) for each in small}
    inside = {each.pid for each in encrypted}
    for pid, account in accounts.items():
        expected = Counter((each.operation, each.status) for each in account)
        for which in ({}, {"ssl": pid in inside}):
            assert on_both_sides(rover, pid, server.pid, **which) == [expected, expected]
    if shutil.which("tshark"):
        theirs = by_tshark(tmp_path / "live.pcap", server.port)
        assert len(theirs) > 300
        ours = [each for flow in flows(tmp_path / "live.pcap") for each in fields(directed(flow, classify) or flow)]
        inflated = {connection for _, connection, _, value in ours if "connector-compressed.csv" in value}
        assert len(inflated) == 1
        mine = [each for each in ours if each[1] not in inflated]
        its = [each for each in theirs if each[1] not in inflated and each[2:] not in MISTAKES]
        assert sorted(mine) == sorted(its)


def test_the_readme_says_what_is_so() -> None:
    """Broken: the README's example prints something else."""
    readme = Path(__file__).parents[1] / "README.md"
    assert doctest.testfile(str(readme), module_relative=False).failed == 0
