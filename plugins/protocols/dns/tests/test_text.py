"""Sampled questions and answers as text."""

import struct

from rover_core.wire import Limits, Rendering
from rover_dns.connection import DnsConversation
from rover_dns.text import render_message

QUESTION = b"\3www\1h\0" + struct.pack("!2H", 1, 1)


def shown(question: bytes, answer: bytes) -> list[str]:
    conversation = DnsConversation(Limits(content=4096))
    conversation.feed(0, question, 0, 1_000)
    (found,) = conversation.feed(1, answer, 0, 5_000)
    return [render_message(half, Rendering()) for half in (found.request, found.response) if half]


def head(number: int, flags: int, answers: int = 0) -> bytes:
    return struct.pack("!6H", number, flags, 1, answers, 0, 0)


def test_messages_are_written_as_dig_does() -> None:
    """Broken: a sample of a slow answer does not say what was asked, or what came of it."""
    address = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x0a\0\0\1"
    assert shown(head(7, 0x0100) + QUESTION, head(7, 0x8180, 1) + QUESTION + address) == [
        "QUERY, id 7; flags: rd; answers: 0\n;www.h A",
        "QUERY, NOERROR, id 7; flags: rd ra; answers: 1\n;www.h A\nwww.h 60 A 10.0.0.1",
    ]


def test_texts_in_records_are_left_out() -> None:
    """Broken: what somebody keeps in a TXT record, a token for instance, is in a sample."""
    question = b"\3www\1h\0" + struct.pack("!2H", 16, 1)
    record = b"\xc0\x0c\0\x10\0\1\0\0\0\x3c\0\7\6canary"
    _, answer = shown(head(7, 0x0100) + question, head(7, 0x8583, 1) + question + record)
    assert answer == "QUERY, NXDOMAIN, id 7; flags: aa rd ra; answers: 1\n;www.h TXT\nwww.h 60 TXT ..."
