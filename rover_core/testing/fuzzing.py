"""Fuzzing of a protocol's parser with Hypothesis, which shrinks what it finds. Needs `hypothesis` installed."""

import random
import time
from collections.abc import Callable, Sequence

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from rover_core.wire import Connection, Direction, Exchange

_ROUND = 100

Input = list[tuple[Direction, bytes, int, int]]


def fuzz(
    connect: Callable[[], Connection], material: Sequence[bytes], seconds: float, *, either: bool = False
) -> int:
    """Feed it for that long with pieces of the material, changed and cut, with gaps; returns how many inputs.

    Whatever comes must not raise, and what comes out must be possible. either: both sides may ask and answer.
    """
    end = time.monotonic() + seconds
    rounds = 0
    while rounds == 0 or time.monotonic() < end:
        seed(random.getrandbits(32))(_round(connect, material, either))()
        rounds += 1
    return rounds * _ROUND


def _round(connect: Callable[[], Connection], material: Sequence[bytes], either: bool) -> Callable[[], None]:
    @settings(max_examples=_ROUND, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.sampled_from(Direction), _data(material), _GAPS, _PAUSES), max_size=12))
    def survives(steps: Input) -> None:
        connection = connect()
        now_ns = 0
        found: list[Exchange] = []
        for direction, data, gap, pause_ns in steps:
            now_ns += pause_ns
            found += connection.feed(direction, data, gap, now_ns)
            connection.unread(direction)
        found += connection.expire(now_ns)
        found += connection.close()
        sent = [sum(len(data) + max(gap, 1) for side, data, gap, _ in steps if side == each) for each in Direction]
        requests, responses = sum(each.request_bytes for each in found), sum(each.response_bytes for each in found)
        assert requests + responses <= sum(sent)
        assert either or (requests <= sent[Direction.CLIENT] and responses <= sent[Direction.SERVER])
        assert all(each.request or each.response for each in found)
        assert all(each.duration_ns >= 0 for each in found)
        assert not list(connection.close())

    return survives


_GAPS = st.one_of(st.just(0), st.just(0), st.integers(-1, 20), st.sampled_from([1 << 20, 1 << 62]))
_PAUSES = st.sampled_from([0, 1, 1_000_000, 10_000_000_000])


def _data(material: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    piece = st.sampled_from([each for each in material if each] or [b"\0"])
    cut = st.builds(lambda data, start, end: data[min(start, end) : max(start, end)], piece, _INDEX, _INDEX)
    changed = st.builds(
        lambda data, at, byte: data[: at % len(data)] + byte + data[at % len(data) + 1 :],
        piece,
        _INDEX,
        st.binary(max_size=3),
    )
    joined = st.lists(st.one_of(piece, cut, changed), max_size=3).map(b"".join)
    return st.one_of(piece, cut, changed, joined, st.binary(max_size=64))


_INDEX = st.integers(0, 2000)
