"""MySQL's own server, its client, its C library and Python's drivers: zstd, zlib and neither, plain and inside TLS.

All of MySQL's runs in a root of its own, where the agent has to find the libraries that encrypt.
"""

import itertools
import json
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from captures import flows
from classifying import Classify, directed
from dissector import recording
from mysql_accounts import READ, Told, found
from mysql_listening import by_tshark, fields
from mysql_own_server import compiled, inside, mysql, told
from mysql_programs import driven, on_both_sides, work
from relay import Relay
from watching import Watching

from rover_core.api import WireProtocol
from rover_mysql.digest import digest

pytestmark = [pytest.mark.servers, pytest.mark.kernel]

HERE = Path(__file__).parent
WAYS = [("uncompressed", 3), ("zlib", 3), ("zstd", 1), ("zstd", 3), ("zstd", 22)]
"""Compression and zstd's level."""

DRIVERS = ("pymysql", "mysqlclient", "pymysql-tls", "mysqlclient-tls", "connector-tls")
LARGE, SMALL = 17 << 20, 3000
PLAIN_OR_TLS: tuple[tuple[str, ...], ...] = ((), ("tls",))
COMMANDS = [
    ("select @@version_comment limit 1", 1),
    ("select $$", 1),
    ("DROP TABLE IF EXISTS t", 1),
    ("CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(100))", 1),
    ("INSERT INTO t VALUES (1, 's3cr3t'), (2, 'other'), (3, NULL)", 1),
    ("SELECT 1; SELECT * FROM missing; SELECT 4", 2),
    ("SELECT 1; UPDATE t SET name = 's3cr3t' WHERE id < 3; SELECT 2 UNION SELECT 3", 3),
    ("SELECT seq, REPEAT('x', 40) FROM seq_1_to_2000", 1),
    ("LOAD DATA LOCAL INFILE '/mnt/rows' INTO TABLE t FIELDS TERMINATED BY ',' (id, name)", 1),
    ("INSERT INTO t (id) VALUES (1)", 1),
    (f"SELECT LENGTH('{'x' * LARGE}')", 1),
    (f"SELECT REPEAT('x', {LARGE})", 1),
    ("SET SESSION session_track_state_change = 1, session_track_schema = 1", 1),
    ("SET character_set_client = latin1", 1),
    ("USE mysql", 1),
]
"""What MySQL's client sends, the first two by itself; and how many of a command's statements the server gets to."""

HISTORY = """
SELECT JSON_ARRAY(mysql_errno, returned_sqlstate, rows_sent, rows_affected)
FROM performance_schema.events_statements_history_long
WHERE nesting_event_level = 0 AND event_name LIKE 'statement/sql/%'
AND thread_id = (SELECT MAX(thread_id) FROM performance_schema.events_statements_history_long
                 WHERE current_schema = 'shop' AND sql_text = 'select $$')
ORDER BY event_id;;
"""
"""The server's own account of the client that came last."""


class Server(NamedTuple):
    port: int
    pid: int
    folder: Path


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("mysql")
    (folder / "rows").write_text("".join(f"{number},s3cr3t {number}\n" for number in range(10, 50_000)))
    with mysql(folder) as (port, pid):
        compiled(HERE / "attributes.c", folder)
        yield Server(port, pid, folder)


def library(server: Server, port: int, largest: int, way: tuple[str, int], *tls: str) -> list[str]:
    """The command of a program with MySQL's C library."""
    return inside(server.folder, "/mnt/attributes", port, largest, *way, *tls)


def client(server: Server, port: int, way: tuple[str, int], *tls: str) -> list[str]:
    """The command of MySQL's own client, begun by a line."""
    mode = "REQUIRED" if tls else "DISABLED"
    options = [f"--compression-algorithms={way[0]}", f"--zstd-compression-level={way[1]}", f"--ssl-mode={mode}"]
    options += ["--host=127.0.0.1", f"--port={port}", "--user=app", "--password=s3cr3t", "--get-server-public-key"]
    options += ["--force", "--delimiter=;;", "--local-infile", "--max-allowed-packet=64M", "shop"]
    command = inside(server.folder, "mysql", "--no-defaults", *options)
    return ["sh", "-c", 'read line; exec "$@"', "sh", *command]


def its_account(server: Server, running: "subprocess.Popen[str]") -> list[Told]:
    """What the server says of what the client does, once it has."""
    running.communicate("\n" + "".join(f"{command};;\n" for command, _ in COMMANDS[2:]), timeout=120)
    lines = [json.loads(line) for line in told(server.folder, HISTORY).splitlines()]
    assert len(lines) == sum(count for _, count in COMMANDS)
    account = [Told("LOGIN", "OK", False)]
    for command, count in COMMANDS:
        said, lines = lines[:count], lines[count:]
        code, state, _, changed = said[-1]
        alone = count == 1 and not code
        status = f"{code} ({state})" if code else "OK"
        rows = None if code else sum(sent for _, _, sent, _ in said)
        account.append(Told(digest(command[:READ]), status, bool(code), rows, changed if alone else None))
    return [*account, Told("QUIT", "", False)]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_exchanges_are_those_of_the_librarys_account(
    protocol: WireProtocol, server: Server, start: Start, way: tuple[str, int]
) -> None:
    """Broken: what a program with MySQL's library asks, prepared statements and attributes among it, is missed,
    doubled or misread, or values are shown."""
    relay = Relay(protocol, ("127.0.0.1", server.port))
    account = work(start(*library(server, relay.port, LARGE, way)))
    exchanges = [each for each in relay.finish() if each.operation != "SEND_LONG_DATA"]
    assert found(exchanges, account) == account
    assert len(account) > 30
    assert "s3cr3t" not in repr([each.operation for each in exchanges])


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_exchanges_are_those_of_the_servers_account(
    protocol: WireProtocol, server: Server, start: Start, way: tuple[str, int]
) -> None:
    """Broken: what MySQL's own client asks is missed, doubled or misread: rows sent and changed, errors, uploads,
    several results of one command."""
    relay = Relay(protocol, ("127.0.0.1", server.port))
    account = its_account(server, start(*client(server, relay.port, way)))
    exchanges = relay.finish()
    assert found(exchanges, account) == account
    assert {each.status for each in account} == {"OK", "", "1064 (42000)", "1146 (42S02)", "1062 (23000)"}
    counted = sum(each.response is not None and each.complete for each in exchanges)
    assert counted >= len(COMMANDS) - 2  # but for what is longer than what is captured


def test_the_agent_sees_every_exchange_once_on_both_sides_and_the_dissector_the_same(
    classify: Classify, server: Server, start: Start, tmp_path: Path
) -> None:
    """Broken: in another root, inside TLS or compressed with zstd, exchanges are lost, doubled, or come under another
    name; or messages are cut otherwise than by an independent reader of the same packets."""
    plain = start(*library(server, server.port, SMALL, WAYS[0]))
    programs = {plain: False} | {
        start(*library(server, server.port, size, way, *tls)): bool(tls)
        for way, size, tls in itertools.product(WAYS, (SMALL, LARGE), PLAIN_OR_TLS)
    }
    programs |= {start(*driven(each, server.port, tmp_path, SMALL)): each.endswith("-tls") for each in DRIVERS}
    clients = {
        start(*client(server, server.port, way, *tls)): bool(tls)
        for way, tls in itertools.product(WAYS, PLAIN_OR_TLS)
    }
    pids = [server.pid, *(each.pid for each in programs | clients)]
    with Watching(tmp_path, "mysql", pids, buffer="4MB") as rover:
        accounts = {each.pid: work(each) for each in programs if each is not plain}
        accounts |= {each.pid: its_account(server, each) for each in clients}
        # A password in RSA, as in an account's first login, is a command to the dissector.
        with recording(tmp_path / "live.pcap", f"tcp port {server.port}"):
            accounts |= {plain.pid: work(plain)}
    for program, encrypted in (programs | clients).items():
        expected = Counter((each.operation, each.status) for each in accounts[program.pid])
        for which in ({}, {"ssl": encrypted}):
            assert on_both_sides(rover, program.pid, server.pid, **which) == [expected, expected]
    # To the dissector an attribute's integer, 7 in four bytes, is a text of that length.
    theirs = [
        (*each, re.sub("^CT ", "SELECT ", said)) for *each, said in by_tshark(tmp_path / "live.pcap", server.port)
    ]
    ours = [each for flow in flows(tmp_path / "live.pcap") for each in fields(directed(flow, classify) or flow)]
    assert len(ours) > 40
    assert sorted(ours) == sorted(theirs)
