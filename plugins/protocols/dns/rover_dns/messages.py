"""DNS messages (RFC 1035 section 4): header, questions, and where the records are."""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from rover_dns.numbers import AXFR, SOA

Bytes = bytes | bytearray

HEAD = struct.Struct("!6H")
_TYPE_AND_CLASS = struct.Struct("!2H")
_RECORD = struct.Struct("!2HIH")
_POINTER = 0xC0
_LONGEST_NAME = 255
_OPT = 41
QUESTIONS = 16
"""Of a message: nobody asks for more, and most for one."""

TOO_LONG = "<Name too long>"
BROKEN, CUT = -1, -2
"""In place of an index: there is no name or question, or its end has not come."""

RESPONSE = 0x8000
_ZERO, _ZERO_OF_QUERIES = 0x0040, 0x004F
_OPCODES = frozenset((0, 1, 2, 4, 5))
_CLASSES = frozenset((1, 3, 4, 254, 255))  # Internet, Chaos, Hesiod, none, any
_UNICAST = 0x7FFF  # without what multicast DNS has in the first bit (RFC 6762 sections 5.4, 10.2)
_ODD = re.compile(rb"[^!-\[\]-~]")
_UNUSUAL = re.compile(rb"[^!-\-/-\[\]-~]")


class Question(NamedTuple):
    """name: without the last dot, as sent; bytes that are not printable are `\\xNN`, dots inside labels `\\.`."""

    name: str
    type: int
    klass: int


class Counts(NamedTuple):
    """Of records, as the header claims."""

    questions: int
    answers: int
    authorities: int
    additional: int


class Record(NamedTuple):
    """name, start, end: indices of data where the owner's name and the record's own data lie."""

    name: int
    type: int
    klass: int
    ttl: int
    start: int
    end: int


class Dns(NamedTuple):
    """flags: the header's second word. rcode: EDNS's bits included (RFC 6891 section 6.1.3). last: type of the last
    answer, 0 if there is none or it was not captured. udp_size: EDNS's, 0 without. subject: the first question, or
    without one what the first answer answers. again: the same was asked and is not answered yet.
    """

    id: int
    flags: int
    questions: tuple[Question, ...]
    counts: Counts
    rcode: int
    udp_size: int
    last: int
    subject: Question | None
    again: bool = False

    @property
    def opcode(self) -> int:
        return self.flags >> 11 & 15

    @property
    def certain(self) -> bool:
        """Whether the status is, if records are missing: EDNS's codes come without answers."""
        return self.flags < RESPONSE or bool(self.counts.answers) or not self.counts.additional


def plausible(flags: int, questions: int, response: bool) -> bool:
    """Whether a header with these flags and as many questions is one."""
    return (
        bool(flags & RESPONSE) == response
        and not flags & (_ZERO if response else _ZERO_OF_QUERIES)
        and flags >> 11 & 15 in _OPCODES
        and (0 if response else 1) <= questions <= QUESTIONS
    )


def parse(data: Bytes, start: int, end: int, whole: bool = True) -> Dns | None:
    """The message in data[start:end]; None if it is none. whole: data ends where the message does.

    A message whose questions are broken behind the first is one all the same, since it is answered.
    """
    if end - start < HEAD.size:
        return None
    number, flags, *claimed = HEAD.unpack_from(data, start)
    if not plausible(flags, claimed[0], flags >= RESPONSE):
        return None
    counts = Counts._make(claimed)
    questions: list[Question] = []
    at = start + HEAD.size
    while len(questions) < counts.questions and at >= 0:
        question, at = read_question(data, at, start, end)
        if question is not None:
            questions.append(question)
    if at < 0 and (not questions or not whole):
        return None
    rcode, udp_size, last = flags & 15, 0, 0
    subject = questions[0] if questions else None
    if at >= 0:
        for index, record in enumerate(records(data, at, end, sum(claimed[1:]))):
            if record.type == _OPT:
                rcode |= record.ttl >> 24 << 4
                udp_size = record.klass
            if index == 0 and subject is None and counts.answers:
                name, _ = read_name(data, record.name, start, end)
                subject = Question(name, record.type, record.klass & _UNICAST) if name is not None else None
            if index == counts.answers - 1:
                last = record.type
    return Dns(number, flags, tuple(questions), counts, rcode, udp_size, last, subject)


def read_question(data: Bytes, at: int, start: int, end: int) -> tuple[Question | None, int]:
    """The question at `at` of the message that begins at `start`, and the index behind; None with BROKEN or CUT."""
    name, at = read_name(data, at, start, end)
    if name is None:
        return None, at
    if at + 4 > end:
        return None, CUT
    kind, klass = _TYPE_AND_CLASS.unpack_from(data, at)
    if klass & _UNICAST not in _CLASSES:
        return None, BROKEN
    return Question(name, kind, klass & _UNICAST), at + 4


def read_name(data: Bytes, at: int, start: int, end: int) -> tuple[str | None, int]:
    """A name and the index behind it; None with BROKEN or CUT.

    Pointers must lead backwards (RFC 1035 section 4.1.4), and behind 255 bytes only the end is looked for: so
    there is one.
    """
    labels: list[bytes] = []
    room = _LONGEST_NAME - 1
    limit = at
    behind = 0
    while at < end:
        length = data[at]
        if length == 0:
            return _text(labels) if room >= 0 else TOO_LONG, behind or at + 1
        if length < 64:
            room -= 1 + length
            if room >= 0:
                labels.append(bytes(data[at + 1 : at + 1 + length]))
            elif behind:
                return TOO_LONG, behind
            at += 1 + length
        elif length < _POINTER:
            return None, BROKEN
        else:
            behind = behind or at + 2
            if behind > end and at + 2 == behind:
                return None, CUT
            if room < 0:
                return TOO_LONG, behind
            at = start + ((length & 0x3F) << 8 | data[at + 1])
            if not start + HEAD.size <= at < limit:
                return None, BROKEN
            limit = at
    return None, CUT


def _text(labels: list[bytes]) -> str:
    name = b".".join(labels)
    if not _ODD.search(name) and (not labels or name.count(b".") == len(labels) - 1):
        return name.decode()
    return ".".join(_UNUSUAL.sub(_escaped, label).decode() for label in labels)


def _escaped(match: "re.Match[bytes]") -> bytes:
    byte = match[0]
    return b"\\" + byte if byte in b".\\" else b"\\x%02x" % byte[0]


def records(data: Bytes, at: int, end: int, count: int) -> Iterator[Record]:
    """The records from `at` on, until one is broken or cut. There are as many as fit, whatever the header claims."""
    while count > 0 and at < end:
        name = at
        while at < end and 0 < data[at] < 64:
            at += 1 + data[at]
        if at >= end:
            return
        at += 2 if data[at] >= _POINTER else 1
        start = at + _RECORD.size
        if start > end:
            return
        kind, klass, ttl, length = _RECORD.unpack_from(data, at)
        at = start + length
        if at > end:
            return
        yield Record(name, kind, klass, ttl, start, at)
        count -= 1


def joined(first: Dns, second: Dns) -> Dns:
    """What two messages of one transfer come to."""
    answers = first.counts.answers + second.counts.answers
    counts = first.counts._replace(answers=answers)
    return first._replace(counts=counts, last=second.last, rcode=second.rcode)


def ends_transfer(message: Dns) -> bool:
    """Whether a zone is complete: it begins and ends with its SOA (RFC 5936 section 2.2). A failure is complete."""
    alone = message.counts.answers == 1 and message.subject is not None and message.subject.type == AXFR
    return bool(message.rcode) or not message.counts.answers or (message.last == SOA and not alone)
