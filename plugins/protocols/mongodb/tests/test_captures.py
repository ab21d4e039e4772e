"""Published captures, message by message against an independent dissector's reading of them."""

from collections.abc import Iterator
from typing import Any

import pytest
from captures import FOLDER, Published, captured, disagreements, flows
from classifying import Classify
from mongodb_listening import read

from rover_core.wire import Message
from rover_mongodb.commands import names_collection
from rover_mongodb.messages import QUERY, Command

CAPTURES = captured("mongo")
COUNT = 9
NAMES = {1: "OP_REPLY", 2004: "OP_QUERY", 2010: "OP_COMMAND", 2011: "OP_COMMANDREPLY", 2013: "OP_MSG"}


def described(direction: int, message: Message[Any], frame: int) -> dict[str, Any]:
    """A message in the dissector's words."""
    detail = message.detail
    compressed = detail.compressor is not None
    found: dict[str, Any] = {
        "frame": frame,
        "kind": "response" if direction else "request",
        "length": message.size,
        "original_opcode_name" if compressed else "opcode_name": NAMES[detail.opcode],
    }
    if direction:
        return found | {
            "response_to": detail.answers,
            "request_id": detail.id,
            "ok": detail.ok,
            **({"write_errors": 1} if detail.ok and detail.failed else {"code": detail.code or None}),
        }
    return found | {"request_id": detail.id, **asked(detail)}


def asked(detail: Command) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if detail.opcode == QUERY:
        found["collection"] = f"{detail.database}.{detail.collection if detail.documents else '$cmd'}"
    else:
        found["db"] = detail.database
    if not detail.documents:
        found["command"] = detail.command
        if names_collection(detail.command):
            found["target"] = detail.collection
    return found


def differences(capture: Published, classify: Classify) -> Iterator[str]:
    for flow in flows(capture.file):
        found = [described(*each) for each in read(flow, classify).messages]
        for kind in ("request", "response"):
            theirs = [each for each in capture.messages if (each["stream"], each["kind"]) == (flow.index, kind)]
            these = [each for each in found if each["kind"] == kind]
            yield from disagreements(f"stream {flow.index}", f"{kind}s", theirs, these)


KNOWN: dict[str, set[str]] = {
    # The dissector was told of port 27017 alone. Stream 0 is to 27018; its frame 1 begins with a length of 136, which
    # it has, no id that it answers, opcode 2004, and "test.$cmd": an insert, as in stream 1; frames 5, 7, 8 likewise.
    "mongo/duplicate-key.pcap": {"stream 0: 0 requests, found 2", "stream 0: 0 responses, found 2"},
}
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
