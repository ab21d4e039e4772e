"""Published captures against an independent dissector's reading, recorded ones against the driver's own account."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from accounts import found, read_account, told
from captures import FOLDER, Flow, Published, captured, disagreements, flows, recorded
from classifying import Classify, directed

from rover_core.wire import Exchange, Limits, Message
from rover_cql import plugin
from rover_cql.connection import CqlConnection
from rover_cql.digest import digest
from rover_cql.messages import ERROR, NAMES, REGISTER, RESULT, STARTUP, Request, Response

CAPTURES = captured("cql")
COUNT = 7
RECORDED = sorted((Path(__file__).parent / "captures").glob("*.pcap.gz"))
KINDS = ("", "void", "rows", "set_keyspace", "prepared", "schema_change")
FLAGS = ("compression", "tracing", "custom_payload", "warning")


class Listening(CqlConnection):
    """Keeps every message with the frame that completed it."""

    def __init__(self) -> None:
        super().__init__(Limits())
        self.messages: list[dict[str, Any]] = []
        self.frame = 0

    def stitch(self, direction: int, message: Message[Any]) -> None:
        detail = message.detail
        told = {
            "frame": self.frame,
            "kind": "response" if direction else "request",
            "version": detail.version,
            "opcode_name": NAMES[detail.opcode],
            "cql_stream": detail.stream,
            "length": message.size - 9,
            "flags": [name for at, name in enumerate(FLAGS) if detail.flags >> at & 1] or None,
        }
        self.messages.append(told | (said(detail) if direction else asked(detail)))
        super().stitch(direction, message)


def asked(detail: Request) -> dict[str, Any]:
    if detail.opcode == STARTUP:
        return {"options": dict(zip(detail.words[::2], detail.words[1::2], strict=True))}
    if detail.opcode == REGISTER:
        return {"strings": list(detail.words)}
    return {"query": detail.statements[0], "consistency": detail.consistency} if detail.statements else {}


def said(detail: Response) -> dict[str, Any]:
    if detail.opcode != RESULT:
        return {"error_code": detail.code} if detail.opcode == ERROR else {}
    rows = {
        "rows": detail.rows,
        "columns": detail.columns,
        "keyspace": detail.keyspace or None,
        "table": detail.table or None,
    }
    return {"result": KINDS[detail.kind], "change": list(detail.words) or None, **rows}


def read(flow: Flow, classify: Classify) -> Listening:
    """Nothing where the classifier finds nothing."""
    connection = Listening()
    for piece in (directed(flow, classify) or replace(flow, pieces=[])).pieces:
        connection.frame = piece.frame
        connection.feed(piece.direction, piece.data, piece.gap, piece.timestamp_ns)
    connection.close()
    return connection


def differences(capture: Published, classify: Classify) -> Iterator[str]:
    theirs = [
        each | ({"query": digest(each["query"])} if "query" in each else {})
        for each in capture.messages
        if each["proto"] == "cql"
    ]
    for flow in flows(capture.file):
        expected = [each for each in theirs if each["stream"] == flow.index]
        yield from disagreements(f"stream {flow.index}", "messages", expected, read(flow, classify).messages)


KNOWN: dict[str, set[str]] = {}
"""Where the dissector is wrong or says less, with the proof."""


def test_the_captures_are_all_there() -> None:
    """Broken: the comparison below compares nothing, or not all."""
    if not FOLDER.exists():
        pytest.skip(f"there is no {FOLDER}")
    assert len(CAPTURES) == COUNT


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda capture: capture.name)
def test_every_message_agrees_with_the_dissector(capture: Published, classify: Classify) -> None:
    """Broken: a message is missed, invented, cut wrongly or misread."""
    assert set(differences(capture, classify)) == KNOWN.get(capture.name, set())


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.name.partition(".")[0])
def test_exchanges_are_those_of_the_drivers_account(file: Path, classify: Classify, tmp_path: Path) -> None:
    """Broken: what a real driver and server say in that version is missed, doubled or misread."""
    exchanges: list[Exchange] = []
    verdicts = set()
    for flow in recorded(file, tmp_path):
        connection = CqlConnection(Limits())
        for piece in flow.pieces:
            verdicts.add((piece.direction, classify(piece.data)))
            exchanges += connection.feed(piece.direction, piece.data, piece.gap, piece.timestamp_ns)
        exchanges += connection.close()
        assert not connection.losses
    account = read_account(file.with_name(file.name.replace(".pcap.gz", ".jsonl")).read_text())
    assert len(account) > 90
    assert found(exchanges) == told(account)
    assert all(each.complete for each in exchanges if not each.operation.startswith("EVENT"))
    assert verdicts - {(0, 0), (1, 0)} == {(0, 1), (1, 2)}


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.name.partition(".")[0])
def test_no_secret_is_kept(file: Path, tmp_path: Path) -> None:
    """Broken: what was inserted, or asked for, can be read in what Rover keeps or ships."""
    for flow in recorded(file, tmp_path):
        connection = CqlConnection(Limits(content=1 << 16))
        found = [e for p in flow.pieces for e in connection.feed(p.direction, p.data, p.gap, p.timestamp_ns)]
        assert "s3cr3t" not in repr(found)


def test_all_connections_of_the_recorded_captures_are_recognised_from_the_middle(
    classify: Classify, tmp_path: Path
) -> None:
    """Broken: connections that were there before the agent are never read."""
    (protocol,) = plugin.rover_protocols()
    for file in RECORDED:
        for flow in recorded(file, tmp_path):
            late = replace(flow, pieces=flow.pieces[len(flow.pieces) // 2 :])
            if len(late.pieces) < 6:
                continue
            turned = directed(late, classify)
            assert turned is not None
            assert turned.client == flow.client
            connection = protocol.connect(Limits())
            found = [e for p in turned.pieces for e in connection.feed(p.direction, p.data, p.gap, p.timestamp_ns)]
            assert sum(each.complete for each in found) >= 2, (file.name, flow.index)
