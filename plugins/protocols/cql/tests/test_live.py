"""Apache Cassandra and its driver: the agent's account and an independent dissector's against the driver's own."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accounts import Account, found, read_account, told
from captures import Flow, flows
from cassandra_server import cassandra
from classifying import Classify, directed
from end_to_end import ENVIRONMENT, ROVER, until
from relay import Relay

from rover_core.api import WireProtocol
from rover_core.wire import Limits, Message
from rover_cql.connection import CqlConnection

pytestmark = pytest.mark.servers

CLIENT = Path(__file__).with_name("cassandra_client.py")
ROWS, LARGE = 300, 300_000
WAYS = [(3, "none"), (3, "lz4"), (3, "snappy"), (4, "none"), (4, "lz4"), (4, "snappy"), (5, "none"), (5, "lz4")]
DISSECTED = [way for way in WAYS if way[0] < 5]
FIELDS = (
    "frame.number",
    "tcp.stream",
    "cql.direction",
    "cql.protocol_version",
    "cql.stream",
    "cql.opcode",
    "cql.message_length",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Port and pid."""
    with cassandra(tmp_path_factory.mktemp("cassandra")) as running:
        yield running


def begin(port: int, ways: list[tuple[int, str]], rows: int = ROWS, large: int = LARGE) -> "subprocess.Popen[str]":
    """A client that waits to begin."""
    command = [
        sys.executable,
        CLIENT,
        port,
        rows,
        large,
        *(f"{version}-{compression}" for version, compression in ways),
    ]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*map(str, command)], text=True, **pipes)  # type: ignore[call-overload,no-any-return]


def work(client: "subprocess.Popen[str]") -> Account:
    """What the driver did, and says that it did."""
    try:
        output, errors = client.communicate("go\n", timeout=180)
    finally:
        client.kill()
    assert client.returncode == 0, errors[-2000:]
    return read_account(output)


@pytest.mark.parametrize(("version", "compression"), WAYS, ids=lambda value: str(value))
def test_exchanges_are_those_of_the_drivers_account(
    protocol: WireProtocol, server: tuple[int, int], version: int, compression: str
) -> None:
    """Broken: what real programs say to each other is missed, doubled or misread when calls are captured in part."""
    relay = Relay(protocol, ("127.0.0.1", server[0]))
    account = told(work(begin(relay.port, [(version, compression)])))
    exchanges = relay.finish()
    assert found(exchanges) == account
    assert sum(account.values()) > 600


@pytest.mark.kernel
def test_the_agent_sees_every_exchange_once_on_both_sides(server: tuple[int, int], tmp_path: Path) -> None:
    """Broken: between the kernel and the report exchanges are lost, doubled, or come under another name."""
    client = begin(server[0], WAYS)
    command = [ROVER, "profile", "network", "--pid", server[1], "--pid", client.pid, "--duration", "0"]
    command += ["--log-level", "info"]
    with (tmp_path / "out").open("w") as output, (tmp_path / "errors").open("w") as errors:
        rover = subprocess.Popen([*map(str, command)], stdout=output, stderr=errors, env=ENVIRONMENT, process_group=0)
    try:
        until(lambda: "task started" in (tmp_path / "errors").read_text(), within_s=60)
        account = work(client)
        time.sleep(2)
    finally:
        client.kill()
        rover.send_signal(signal.SIGINT)
        rover.wait(60)
    records = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    expected: Counter[tuple[str, str]] = Counter()
    for (operation, status, *_), count in told(account).items():
        expected[operation, status] += count
    mine = [each for each in records if each["type"] == "operation" and each["protocol"] == "cql"]
    assert _counted(each for each in mine if each["role"] == "server" and each["pid"] == server[1]) == expected
    assert _counted(each for each in mine if each["role"] == "client") == expected


def _counted(records: Any) -> "Counter[tuple[str, str]]":
    counts: Counter[tuple[str, str]] = Counter()
    for record in records:
        counts.update({(record["operation"], status): count for status, count in record["statuses"].items()})
    return counts


@pytest.mark.kernel
@pytest.mark.parametrize(("version", "compression"), DISSECTED, ids=lambda value: str(value))
def test_the_dissector_finds_the_same_messages(
    classify: Classify, server: tuple[int, int], tmp_path: Path, version: int, compression: str
) -> None:
    """Broken: messages are cut otherwise than by an independent reader of the same packets."""
    file = tmp_path / "live.pcap"
    file.touch()
    file.chmod(0o666)  # dumpcap gives up its rights
    tmp_path.chmod(0o777)
    command = ["dumpcap", "-q", "-P", "-B", "64", "-i", "lo", "-f", f"tcp port {server[0]}", "-w", str(file)]
    capture = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        until(lambda: file.stat().st_size >= 24)
        work(begin(server[0], [(version, compression)], 40, 20_000))
        time.sleep(1)
    finally:
        capture.terminate()
        capture.wait(30)
    theirs = dissected(file, server[0])
    assert len(theirs) > 200
    ours = [each for flow in flows(file) for each in messages(directed(flow, classify) or flow)]
    assert sorted(ours) == sorted(theirs)


def dissected(file: Path, port: int) -> list[tuple[int, ...]]:
    """Frame, connection, direction, version, stream, opcode and length of each message, by tshark."""
    command = ["tshark", "-r", str(file), "-d", f"tcp.port=={port},cql", "-Y", "cql", "-T", "fields"]
    command += [word for field in FIELDS for word in ("-e", field)]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    told: list[tuple[int, ...]] = []
    for line in text.splitlines():
        frame, connection, *columns = line.split("\t")
        values = [[int(word, 0) for word in column.split(",")] for column in columns]
        told += [(int(frame), int(connection), int(side > 0), *rest) for side, *rest in zip(*values, strict=True)]
    return told


class _Listening(CqlConnection):
    """Keeps of every message what the dissector tells."""

    def __init__(self, connection: int) -> None:
        super().__init__(Limits())
        self.frame, self.number = 0, connection
        self.told: list[tuple[int, ...]] = []

    def stitch(self, direction: int, message: Message[Any]) -> None:
        detail = message.detail
        self.told.append(
            (self.frame, self.number, direction, detail.version, detail.stream, detail.opcode, message.size - 9)
        )
        super().stitch(direction, message)


def messages(flow: Flow) -> list[tuple[int, ...]]:
    connection = _Listening(flow.index)
    for piece in flow.pieces:
        connection.frame = piece.frame
        connection.feed(piece.direction, piece.data, piece.gap, piece.timestamp_ns)
    return connection.told
