"""What installed classifiers say of recorded connections, against what the kernel's said at the time."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from rover_core.api import CLASSIFY_BYTES, Diagnostic, Health, WireProtocol
from rover_core.classifiers import Classify, compiled
from rover_network.feeds import split
from rover_network.records import CALL, END, RECORD, RUNS, Record, runs
from rover_network.replaying import read_header
from rover_network.tape import RECORDS, Frame, Reader

Verdict = tuple[str, int]
"""A protocol's name, and 1 for a request or 2 for a response; ("", 0) where no classifier knows it."""
_REQUEST, _RESPONSE = 1, 2
_MOST = 65_536  # connections at once; of more, those known for longest are forgotten


def compare(file: BinaryIO, protocols: Sequence[WireProtocol]) -> Iterator[Diagnostic]:
    """A line for each protocol, and one for each verdict that differs. RoverError without a C compiler."""
    reader = Reader(file, file.name)
    frames = reader.frames()
    names = read_header(frames, file.name).protocols
    with tempfile.TemporaryDirectory() as folder:
        classifiers = {each.name: compiled(each, Path(folder)) for each in _in_order(protocols, names)}
        agreed: Counter[str] = Counter()
        differing: Counter[tuple[Verdict, Verdict]] = Counter()
        for told, head in _first_calls(frames, names):
            said = _verdict(classifiers, head)
            if said == told:
                agreed[told[0]] += 1
            else:
                differing[told, said] += 1
    for name in [name for name in names if name in agreed]:
        yield Diagnostic(name, Health.OK, f"{agreed[name]} connections recognised as when they were recorded")
    for (told, said), count in differing.most_common():
        detail = f"{count} connections whose first call was {_text(told)} are now {_text(said)}"
        yield Diagnostic(told[0], Health.PROBLEM, detail)
    if reader.damage:
        yield Diagnostic("recording", Health.WARNING, f"it is not whole: {reader.damage}")


def _text(verdict: Verdict) -> str:
    name, number = verdict
    return f"a {'request' if number == _REQUEST else 'response'} of {name}" if name else "nothing known"


def _in_order(protocols: Sequence[WireProtocol], names: Sequence[str]) -> list[WireProtocol]:
    """As the kernel asked them; those it did not know come last."""
    return sorted(protocols, key=lambda each: names.index(each.name) if each.name in names else len(names))


def _verdict(classifiers: Mapping[str, Classify], head: bytes) -> Verdict:
    for name, classify in classifiers.items():
        if number := classify(head):
            return name, number
    return "", 0


def _first_calls(frames: Iterator[Frame], names: Sequence[str]) -> Iterator[tuple[Verdict, bytes]]:
    """The kernel's verdict of each connection and the first bytes of the call that it was about.

    Of calls that were not captured from their start, or of too little, nothing can be said.
    """
    known: dict[tuple[int, int, int], int] = {}
    for frame in frames:
        for view in split(frame.content) if frame.kind == RECORDS else ():
            record = Record._make(RECORD.unpack_from(view))
            key = record.inode, record.tgid, record.peer
            if record.event & END:
                known.pop(key, None)
                continue
            generation = record.event & ~RUNS
            if record.event & CALL or known.get(key) == generation or not 0 < record.protocol <= len(names):
                continue
            if len(known) >= _MOST:
                del known[next(iter(known))]
            known[key] = generation
            data, after = _beginning(record, view[RECORD.size :])
            head = data[:CLASSIFY_BYTES]
            if len(head) == CLASSIFY_BYTES or not after:
                yield (names[record.protocol - 1], _RESPONSE if record.from_server else _REQUEST), head


def _beginning(record: Record, view: memoryview) -> tuple[bytes, int]:
    """What is captured of the call from its start on, and how many bytes behind it are not."""
    if not record.event & RUNS:
        return bytes(view[: record.length]), record.after
    parts, before = runs(view[: record.length])
    if before or not parts:
        return b"", before or record.after
    data, after = parts[0]
    return data, after or record.after
