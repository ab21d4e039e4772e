"""The suite of every protocol, over the shapes that DNS messages take, on connections and in datagrams."""

import struct

from rover_core.api import WireProtocol
from rover_core.testing import ProtocolConformance, Transcript
from rover_core.wire import Direction
from rover_dns import plugin

C, S = Direction.CLIENT, Direction.SERVER
A, SOA, PTR, AAAA, OPT, IXFR, AXFR = 1, 6, 12, 28, 41, 251, 252
QUERY, ANSWER = 0x0100, 0x8180
OWNER = b"\xc0\x0c"


def name(text: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".") if label) + b"\0"


def question(text: str, kind: int, klass: int = 1) -> bytes:
    return name(text) + struct.pack("!2H", kind, klass)


def record(kind: int, data: bytes, owner: bytes = OWNER, klass: int = 1, ttl: int = 60) -> bytes:
    return owner + struct.pack("!2HIH", kind, klass, ttl, len(data)) + data


def edns(code: int = 0) -> bytes:
    return record(OPT, b"", b"\0", 1232, code >> 4 << 24)


def message(number: int, flags: int, questions: list[bytes], answers: list[bytes], more: list[bytes]) -> bytes:
    counts = (len(questions), len(answers), 0, len(more))
    return struct.pack("!6H", number, flags, *counts) + b"".join(questions + answers + more)


def ask(number: int, text: str, kind: int = A, more: list[bytes] | None = None) -> bytes:
    return message(number, QUERY, [question(text, kind)], [], more or [])


def answer(number: int, text: str, kind: int, *data: bytes, code: int = 0, flags: int = ANSWER) -> bytes:
    records = [record(kind, each) for each in data]
    return message(number, flags | code & 15, [question(text, kind)], records, [edns(code)] if code > 15 else [])


def framed(*messages: bytes) -> bytes:
    return b"".join(struct.pack("!H", len(each)) + each for each in messages)


ADDRESS = b"\x0a\0\0\1"
ZONE = name("ns.h") + name("admin.h") + bytes(20)
WWW = ("A www.h", "NOERROR", False)


class TestDnsOverTcp(ProtocolConformance):
    def make(self) -> WireProtocol:
        (protocol,) = plugin.rover_protocols()
        return protocol

    def transcripts(self) -> list[Transcript]:
        return [
            Transcript(
                "one after the other: answers, failures, EDNS and its codes",
                [
                    (C, framed(ask(7, "www.h", more=[edns()]))), (S, framed(answer(7, "www.h", A, ADDRESS, ADDRESS))),
                    (C, framed(ask(8, "no.h", AAAA))), (S, framed(answer(8, "no.h", AAAA, code=3))),
                    (C, framed(ask(9, "4.3.2.1.in-addr.arpa", PTR))),
                    (S, framed(answer(9, "4.3.2.1.in-addr.arpa", PTR, code=2))),
                    (C, framed(ask(10, "www.h", more=[edns()]))), (S, framed(answer(10, "www.h", A, code=16))),
                    (C, framed(ask(11, "www.h", 65280))), (S, framed(message(11, ANSWER | 5, [], [], []))),
                ],
                [
                    WWW, ("AAAA no.h", "NXDOMAIN", False), ("PTR {}.in-addr.arpa", "SERVFAIL", True),
                    ("A www.h", "BADVERS", True), ("OTHER www.h", "REFUSED", True),
                ],
                independent=False,  # a refusal without a question is not found in the middle
            ),
            Transcript(
                "two at once, answered in the other order",
                [
                    (C, framed(ask(1, "www.h"), ask(2, "www.h", AAAA))),
                    (S, framed(answer(2, "WWW.h", AAAA, bytes(16)))), (S, framed(answer(1, "wWw.H", A, ADDRESS))),
                    (C, framed(ask(3, "www.h"))), (S, framed(answer(3, "www.h", A, ADDRESS))),
                ],
                [("AAAA www.h", "NOERROR", False), WWW, WWW],
            ),
            Transcript(
                "a zone in three messages, then another that is refused",
                [
                    (C, framed(ask(5, "h", AXFR))),
                    (S, framed(message(5, ANSWER, [question("h", AXFR)], [record(SOA, ZONE)], []))),
                    (S, framed(message(5, ANSWER, [], [record(A, ADDRESS, name("a.h"))] * 3, []))),
                    (S, framed(message(5, ANSWER, [], [record(SOA, ZONE, name("h"))], []))),
                    (C, framed(ask(6, "h", IXFR))), (S, framed(answer(6, "h", IXFR, code=9))),
                ],
                [("AXFR h", "NOERROR", False), ("IXFR h", "NOTAUTH", True)],
                independent=False,
            ),
            Transcript(
                "an update, and a notification",
                [
                    (C, framed(message(1, 0x2800, [question("h", SOA)], [], []))),
                    (S, framed(message(1, 0xA800, [question("h", SOA)], [], []))),
                    (C, framed(message(2, 0x2400, [question("h", SOA)], [], []))),
                    (S, framed(message(2, 0xA400, [question("h", SOA)], [], []))),
                ],
                [("UPDATE SOA h", "NOERROR", False), ("NOTIFY SOA h", "NOERROR", False)],
            ),
        ]  # fmt: skip


class TestDnsOverUdp(ProtocolConformance):
    datagrams = True

    def make(self) -> WireProtocol:
        (protocol,) = plugin.rover_protocols()
        return protocol

    def transcripts(self) -> list[Transcript]:
        return [
            Transcript(
                "two at once as resolvers ask; what does not fit; several questions",
                [
                    (C, ask(1, "www.h")), (C, ask(2, "www.h", AAAA)),
                    (S, answer(1, "www.h", A, ADDRESS)), (S, answer(2, "www.h", AAAA, code=3)),
                    (C, ask(3, "big.h", 16)), (S, answer(3, "big.h", 16, flags=ANSWER | 0x0200)),
                    (C, message(4, QUERY, [question("www.h", A), question("www.h", AAAA)], [], [])),
                    (S, message(4, ANSWER | 1, [question("www.h", A), question("www.h", AAAA)], [], [])),
                ],
                [
                    WWW, ("AAAA www.h", "NXDOMAIN", False), ("TXT big.h", "NOERROR", False),
                    ("A www.h", "FORMERR", True),
                ],
            ),
            Transcript(
                "multicast, where both sides ask and answer",
                [
                    (C, message(0, 0, [question("_ipp._tcp.local", PTR, 0x8001)], [], [])),
                    (S, message(0, 0x8400, [], [record(PTR, b"\2me\xc0\x0c", name("_ipp._tcp.local"))], [])),
                    (S, message(0, 0, [question("box.local", A)], [], [])),
                    (C, message(0, 0x8400, [], [record(A, ADDRESS, name("box.local"), 0x8001)], [])),
                ],
                [("PTR _ipp._tcp.local", "NOERROR", False), ("A box.local", "NOERROR", False)],
                independent=False,
            ),
        ]  # fmt: skip
