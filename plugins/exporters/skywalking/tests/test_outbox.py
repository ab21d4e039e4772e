"""What waits is bounded, in order, and counted where it is lost."""

import asyncio
from collections import Counter

from rover_core.model import Loss
from rover_exporter_skywalking.outbox import Outbox, Parcel
from rover_exporter_skywalking.rpc import COLLECT_METERS, COLLECT_PROFILING_DATA


def parcel(name: str, kept: int = 1, size: int = 936, rpc: object = COLLECT_PROFILING_DATA) -> Parcel:
    """1000 bytes with its overhead, unless said otherwise."""
    return Parcel(rpc, (name.encode().ljust(size, b"."),), kept)  # type: ignore[arg-type]


def names(parcels: list[Parcel]) -> list[str]:
    return [each.messages[0].rstrip(b".").decode() for each in parcels]


def make(room: int = 10_000) -> tuple[Outbox, Counter[Loss]]:
    lost: Counter[Loss] = Counter()
    return Outbox(room, lambda samples, cause: lost.update({cause: samples})), lost


def test_the_oldest_go_when_there_is_no_room() -> None:
    """Broken: an outage fills the agent's memory, or the newest data is lost to keep the oldest."""
    outbox, lost = make(room=3000)
    outbox.put(parcel(str(number), kept=10 + number) for number in range(5))
    assert outbox.size == 3000
    assert names(outbox.take(10_000)) == ["2", "3", "4"]
    assert lost == {Loss.QUEUE_FULL: 10 + 11}


def test_what_comes_back_is_bounded_too() -> None:
    """Broken: what was on its way when the connection broke comes on top of a full buffer."""
    outbox, lost = make(room=2000)
    outbox.put([parcel("old", kept=5)])
    on_its_way = outbox.take(10_000)
    outbox.put([parcel("new"), parcel("newer")])
    outbox.give_back(on_its_way, behind=False)
    assert names(outbox.take(10_000)) == ["new", "newer"]
    assert lost == {Loss.QUEUE_FULL: 5}


def test_a_stream_is_of_one_kind_and_of_bounded_size() -> None:
    """Broken: meters are sent as profiles, or one stream carries minutes of data and times out again and again."""
    outbox, _ = make(room=100_000)
    meters = parcel("m", rpc=COLLECT_METERS)
    outbox.put([parcel("a"), parcel("b"), parcel("c"), meters, parcel("huge", size=50_000)])
    assert [names(outbox.take(2500)) for _ in range(4)] == [["a", "b"], ["c"], ["m"], ["huge"]]
    assert len(outbox) == outbox.size == 0


def test_order_is_kept_unless_a_parcel_is_poisonous() -> None:
    """Broken: one parcel that the backend chokes on holds up all others for ever."""
    outbox, _ = make()
    outbox.put(parcel(name) for name in "abc")
    outbox.give_back(outbox.take(1000), behind=False)
    assert names(outbox.take(1000)) == ["a"]
    outbox.give_back([parcel("poison")], behind=True)
    assert names(outbox.take(10_000)) == ["b", "c", "poison"]


async def test_waiting_ends_when_something_comes() -> None:
    """Broken: data waits for other data, or the sender spins."""
    outbox, _ = make()
    waiting = asyncio.create_task(outbox.filled())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    outbox.put([parcel("a")])
    await asyncio.wait_for(waiting, 5)
