"""What every protocol must do with bytes that passed, whole or not: a suite to subclass, and what it is fed."""

import os
import random
import tracemalloc
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from rover_core.api import WireProtocol
from rover_core.wire import Connection, Direction, Exchange, Limits, Rendering

_STEP_NS = 1_000_000
FUZZ_SECONDS = "ROVER_FUZZ_SECONDS"


@dataclass(frozen=True, slots=True)
class Transcript:
    """A connection from its first byte to its last.

    steps: what was sent, in order; a step is one call's data and moves at one time. exchanges: what comes of it,
    in the order of the requests: operation, status and whether it is an error; requests that nothing answers and
    answers to nothing among them. independent: bytes before an exchange do not change how it is read, so that it is
    found by who joins late or has lost what was before.
    """

    name: str
    steps: Sequence[tuple[Direction, bytes]]
    exchanges: Sequence[tuple[str, str, bool]]
    independent: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """One `feed`."""

    direction: int
    data: bytes
    gap: int
    timestamp_ns: int


Seen = tuple[str, str, bool, int, int, int, int]
"""Operation, status, error, request and response bytes, start and end."""


def as_seen(exchange: Exchange) -> Seen:
    sizes = (exchange.request_bytes, exchange.response_bytes)
    return (exchange.operation, exchange.status, exchange.error, *sizes, exchange.start_ns, exchange.end_ns)


class ProtocolConformance(ABC):
    """Give it `make`, `transcripts` and, if a minute of fuzzing shall begin with more, `seeds`.

    datagrams: the transcripts are UDP's: a step is a datagram, which may be lost or captured in part, but not cut.
    fuzz_seconds: how long fuzzing lasts, unless ROVER_FUZZ_SECONDS says it.
    """

    datagrams: ClassVar[bool] = False
    fuzz_seconds: ClassVar[float] = 5.0

    @abstractmethod
    def make(self) -> WireProtocol:
        """The protocol."""

    @abstractmethod
    def transcripts(self) -> Sequence[Transcript]:
        """Connections that show every shape a message can take. A few hundred bytes each: every position is tried."""

    def seeds(self) -> Sequence[bytes]:
        """What fuzzing cuts its input from, beside the transcripts and random bytes."""
        return ()

    def test_whole(self) -> None:
        """Broken: an exchange is missed, or its operation, status, sizes or times are wrong."""
        for transcript in self.transcripts():
            found = self._whole(transcript)
            assert [each[:3] for each in found] == list(transcript.exchanges), transcript.name
            sent = [
                sum(len(data) for side, data in transcript.steps if side == each or self.datagrams)
                for each in Direction
            ]
            assert sum(each[3] for each in found) <= sent[Direction.CLIENT], transcript.name
            assert sum(each[4] for each in found) <= sent[Direction.SERVER], transcript.name
            messages = [m for each in self._fed(_steps(transcript))[1] for m in (each.request, each.response) if m]
            assert all(message.complete for message in messages), transcript.name

    def test_byte_by_byte(self) -> None:
        """Broken: a message is read otherwise when it comes in pieces."""
        for transcript in self.transcripts():
            steps = self._in_pieces(transcript, lambda: 1)
            assert self._seen(steps) == self._whole(transcript), transcript.name

    def test_random_pieces(self) -> None:
        """Broken: a message is read otherwise depending on where a call or a packet ended."""
        for seed in range(40):
            dice = random.Random(seed)
            for transcript in self.transcripts():
                steps = self._in_pieces(transcript, _randomly(dice))
                assert self._seen(steps) == self._whole(transcript), (transcript.name, seed)

    def test_the_two_directions_arrive_in_reverse(self) -> None:
        """Broken: a response that is read before its request, since two processors reported them, is lost."""
        for transcript in self.transcripts():
            steps = _steps(transcript)
            for index in range(len(steps) - 1):
                if (steps[index].direction, steps[index + 1].direction) == (Direction.CLIENT, Direction.SERVER):
                    swapped = [*steps[:index], steps[index + 1], steps[index], *steps[index + 2 :]]
                    found = sorted(self._seen(swapped), key=lambda each: each[5])
                    assert found == sorted(self._whole(transcript), key=lambda each: each[5]), (
                        transcript.name,
                        index,
                    )

    def test_gaps_at_every_position(self) -> None:
        """Broken: a gap shifts responses to other requests, makes up an exchange, or hides one without a count."""
        for transcript in self.transcripts():
            whole = self._pairs(transcript)
            for steps in _with_gaps(transcript, self.datagrams):
                connection, found = self._fed(steps)
                complete = [as_seen(each) for each in found if each.complete]
                assert _is_part(complete, whole), (transcript.name, steps)
                if len(complete) < len(whole):
                    halves = [each for each in found if not each.complete]
                    assert halves or sum(connection.losses.values()), (transcript.name, steps)

    def test_what_comes_after_a_gap_is_right(self) -> None:
        """Broken: one lost packet, and nothing on that connection is understood any more."""
        for transcript in self._independent():
            whole = self._pairs(transcript)
            for index, step in enumerate(_steps(transcript)):
                steps = _steps(transcript)
                steps[index] = Step(step.direction, b"", len(step.data), step.timestamp_ns)
                later = [each for each in whole if each[5] > step.timestamp_ns]
                complete = [as_seen(each) for each in self._fed(steps)[1] if each.complete]
                assert not later or complete[-len(later) :] == later, (transcript.name, index)

    def test_truncated_at_every_position(self) -> None:
        """Broken: the end of a connection, or of what was captured of it, makes up an exchange or hides one."""
        for transcript in self.transcripts():
            whole = self._pairs(transcript)
            for end in range(len(whole) and sum(len(data) for _, data in transcript.steps)):
                _, found = self._fed(_first(transcript, end, self.datagrams))
                ended = [as_seen(each)[:4] for each in found if each.complete]
                assert _is_part(ended, [each[:4] for each in whole]), (transcript.name, end)

    def test_joined_at_every_position(self) -> None:
        """Broken: a connection that was there before the agent is misread, or never understood."""
        for transcript in self._independent():
            whole = self._pairs(transcript)
            for start in range(sum(len(data) for _, data in transcript.steps)):
                steps = _after(transcript, start, self.datagrams)
                complete = [each for each in self._fed(steps)[1] if each.complete]
                assert _is_part([as_seen(each)[:3] for each in complete], [each[:3] for each in whole])
                later = [each for each in whole if each[5] > steps[0].timestamp_ns]
                seen = [as_seen(each) for each in complete]
                assert not later or seen[-len(later) :] == later, (transcript.name, start)

    def test_time_passes(self) -> None:
        """Broken: requests that nobody answers are kept for as long as the connection lives."""
        for transcript in self.transcripts():
            connection = self._connect()
            steps = [step for step in _steps(transcript) if step.direction == Direction.CLIENT]
            found = [each for step in steps for each in _feed(connection, step)]
            for _ in steps:
                found += connection.expire(steps[-1].timestamp_ns + 1)
            assert not connection.close(), (transcript.name, "something was kept")
            assert len(found) == sum(each[3] > 0 for each in self._whole(transcript)), transcript.name

    def test_messages_become_text(self) -> None:
        """Broken: a sampled message, whole or cut, has no text, too much of it, or makes the renderer stumble."""
        render = self.make().render
        if render is None:
            return
        for transcript in self.transcripts():
            cut = [replace(step, data=step.data[:9], gap=len(step.data[9:])) for step in _steps(transcript)]
            for steps in (_steps(transcript), cut):
                connection = self._connect(Limits(content=4096))
                found = [each for step in steps for each in _feed(connection, step)]
                for message in (half for each in found for half in (each.request, each.response) if half):
                    assert render(message, Rendering()), transcript.name
                    assert len(render(message, Rendering(most=20)).encode()) <= 20, transcript.name

    def test_random_bytes(self) -> None:
        """Broken: what is not of this protocol raises, or is taken for it."""
        dice = random.Random(1)
        for _ in range(200):
            connection = self._connect()
            steps = [Step(dice.randint(0, 1), dice.randbytes(dice.randint(1, 400)), 0, at) for at in range(1, 20)]
            found = [each for step in steps for each in _feed(connection, step)]
            assert not [each for each in found if each.complete]

    def test_hostile_input_is_bounded_in_memory(self) -> None:
        """Broken: one connection can fill the agent's memory."""
        for name, pieces in self._hostile():
            connection = self._connect(Limits(buffered=65_536, open=256))
            tracemalloc.start()
            try:
                for at, (direction, data) in enumerate(pieces):
                    connection.feed(direction, data, 0, at + 1)
                kept, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert kept < 1 << 20, (name, kept)
            assert peak < 2 << 20, (name, peak)

    def test_what_comes_after_long_nonsense_is_found(self) -> None:
        """Broken: a megabyte of something else, and the parser is blind to what it is for."""
        for transcript in self._independent():
            whole = self._pairs(transcript)
            noise = random.Random(2).randbytes(1 << 20)
            connection = self._connect()
            for direction in Direction:
                for index in range(0, len(noise), 16_384):
                    connection.feed(direction, noise[index : index + 16_384], 0, 1)
            found = [as_seen(each) for step in _steps(transcript) for each in _feed(connection, step)]
            found += [as_seen(each) for each in connection.close()]
            assert [each for each in found if each[3] and each[4]][-len(whole) :] == whole, transcript.name

    def test_fuzzed(self) -> None:
        """Broken: some input raises, or makes exchanges that cannot be. For ROVER_FUZZ_SECONDS at most."""
        from rover_core.testing.fuzzing import fuzz

        material = [data for transcript in self.transcripts() for _, data in transcript.steps]
        seconds = float(os.environ.get(FUZZ_SECONDS, self.fuzz_seconds))
        fuzz(self._connect, [*material, *self.seeds()], seconds, either=self.datagrams)

    def _connect(self, limits: Limits | None = None) -> Connection:
        protocol = self.make()
        connect = protocol.datagrams if self.datagrams else protocol.connect
        assert connect is not None, "not spoken over UDP"
        return connect(limits or Limits())

    def _in_pieces(self, transcript: Transcript, length: Callable[[], int]) -> list[Step]:
        steps = _steps(transcript)
        return steps if self.datagrams else [each for step in steps for each in _cut(step, length)]

    def _independent(self) -> list[Transcript]:
        return [each for each in self.transcripts() if each.independent]

    def _fed(self, steps: Sequence[Step]) -> tuple[Connection, list[Exchange]]:
        connection = self._connect()
        found = [each for step in steps for each in _feed(connection, step)]
        return connection, [*found, *connection.close()]

    def _seen(self, steps: Sequence[Step]) -> list[Seen]:
        return [as_seen(each) for each in self._fed(steps)[1]]

    def _whole(self, transcript: Transcript) -> list[Seen]:
        return self._seen(_steps(transcript))

    def _pairs(self, transcript: Transcript) -> list[Seen]:
        """Without what has no other half by nature: loss makes halves too."""
        return [each for each in self._whole(transcript) if each[3] and each[4]]

    def _hostile(self) -> Iterator[tuple[str, Iterator[tuple[int, bytes]]]]:
        """Beginnings of messages that never end, and requests that nobody answers."""
        for transcript in self.transcripts():
            for direction in Direction:
                sent = b"".join(data for side, data in transcript.steps if side == direction)
                for keep in (len(sent) // 3, len(sent) * 2 // 3, len(sent) - 1):
                    yield transcript.name, _endless(direction, sent[:keep])
                first = next((data for side, data in transcript.steps if side == direction), b"")
                yield transcript.name, ((direction, first) for _ in range(5_000))


def _endless(direction: int, beginning: bytes) -> Iterator[tuple[int, bytes]]:
    yield direction, beginning
    for _ in range(100):
        yield direction, b"a" * 16_384


def _feed(connection: Connection, step: Step) -> Sequence[Exchange]:
    return connection.feed(step.direction, step.data, step.gap, step.timestamp_ns)


def _steps(transcript: Transcript) -> list[Step]:
    return [Step(side, data, 0, _STEP_NS * (at + 1)) for at, (side, data) in enumerate(transcript.steps)]


def _randomly(dice: random.Random) -> Callable[[], int]:
    return lambda: dice.randint(1, 40)


def _cut(step: Step, length: Callable[[], int]) -> Iterator[Step]:
    at = 0
    while at < len(step.data):
        size = length()
        yield Step(step.direction, step.data[at : at + size], 0, step.timestamp_ns)
        at += size


def _with_gaps(transcript: Transcript, datagrams: bool) -> Iterator[list[Step]]:
    """One gap of one byte, of seven, or to the end of the step, at each position; of a datagram the end alone."""
    steps = _steps(transcript)
    for index, step in enumerate(steps):
        for at in range(len(step.data)):
            rest = len(step.data) - at
            for gap in {rest} if datagrams else {1, min(7, rest), rest}:
                before = Step(step.direction, step.data[:at], gap, step.timestamp_ns)
                after = [] if datagrams else [Step(step.direction, step.data[at + gap :], 0, step.timestamp_ns)]
                yield [*steps[:index], before, *after, *steps[index + 1 :]]


def _first(transcript: Transcript, end: int, datagrams: bool) -> list[Step]:
    found: list[Step] = []
    for step in _steps(transcript):
        if datagrams and end < len(step.data):
            break
        found.append(Step(step.direction, step.data[:end], 0, step.timestamp_ns))
        end -= len(step.data)
        if end <= 0:
            break
    return found


def _after(transcript: Transcript, start: int, datagrams: bool) -> list[Step]:
    steps = _steps(transcript)
    while start >= len(steps[0].data):
        start -= len(steps.pop(0).data)
    if not datagrams:
        steps[0] = Step(steps[0].direction, steps[0].data[start:], 0, steps[0].timestamp_ns)
    return steps


def _is_part(part: Sequence[object], whole: Sequence[object]) -> bool:
    """Whether all of `part` is in `whole`, in whatever order, each as often at most."""
    left = list(whole)
    for each in part:
        if each not in left:
            return False
        left.remove(each)
    return True
