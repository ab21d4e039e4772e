"""Between profilers and exporters: whatever an exporter does, nothing vanishes uncounted and nobody waits."""

import asyncio
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover_core.ledger import Ledger
from rover_core.model import Completeness, Loss
from rover_core.pipeline import Pipeline
from rover_core.testing import FakeContext, FakeExporter, make_profile, make_sample

BATCH = make_profile(make_sample(count=10))


async def until(condition: Callable[[], object], within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        await asyncio.sleep(0.005)


def started(*exporters: FakeExporter, queue_size: int = 4) -> tuple[Pipeline, Ledger]:
    ledger = Ledger()
    pipeline = Pipeline(exporters, ledger, queue_size)
    pipeline.start(FakeContext())
    return pipeline, ledger


async def test_every_exporter_gets_every_batch_in_order() -> None:
    """Broken: exporters take batches away from each other."""
    first, second = FakeExporter("first", ["a file"]), FakeExporter("second", ["an address"])
    pipeline, ledger = started(first, second)
    batches = [make_profile(make_sample(count=n)) for n in (1, 2, 3)]
    for batch in batches:
        pipeline.publish(batch)
    assert await pipeline.stop(20) == ["a file", "an address"]
    assert first.batches == second.batches == batches
    assert first.stopped
    assert ledger.profilers == {"FAKE": Completeness(6, 6)}
    assert ledger.exporters == {"first": Completeness(6, 6), "second": Completeness(6, 6)}


async def test_a_full_queue_drops_the_newest_and_counts_it() -> None:
    """Broken: a slow exporter makes the agent grow, holds up the others, or loses batches in silence."""
    slow, quick = FakeExporter("slow"), FakeExporter("quick")
    slow.hanging = {"export"}
    pipeline, ledger = started(slow, quick, queue_size=2)
    await asyncio.sleep(0)
    for number in range(6):
        pipeline.publish(BATCH)
        await until(lambda number=number: len(quick.batches) == number + 1)  # type: ignore[misc]
    # One is in its hands and two wait.
    assert ledger.exporters["slow"] == Completeness(30, 0, {Loss.QUEUE_FULL: 30})
    assert ledger.exporters["quick"] == Completeness(60, 60)
    await pipeline.stop(0.05)
    assert ledger.exporters["slow"] == Completeness(60, 0, {Loss.QUEUE_FULL: 30, Loss.EXPORTER_DOWN: 30})


async def test_a_failing_exporter_loses_its_own_batches_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a backend that is down stops the others, is not counted, or fills the log."""
    from rover_core.logs import configure_logs

    configure_logs("WARNING", "json")
    bad, good = FakeExporter("bad"), FakeExporter("good")
    bad.failures = {"export": ConnectionError("no route to host")}
    pipeline, ledger = started(bad, good)
    for _ in range(3):
        pipeline.publish(BATCH)
    await until(lambda: "bad" in ledger.exporters and ledger.exporters["bad"].expected == 30)
    bad.failures = {}
    pipeline.publish(BATCH)
    await pipeline.stop(20)
    assert ledger.exporters["bad"] == Completeness(40, 10, {Loss.EXPORTER_DOWN: 30})
    assert ledger.exporters["good"] == Completeness(40, 40)
    assert capsys.readouterr().err.count("no route to host") == 1


async def test_an_exporter_that_cannot_start_is_left_out() -> None:
    """Broken: a store that cannot be opened ends the agent, or its batches count as kept."""
    bad, good = FakeExporter("bad"), FakeExporter("good")
    bad.failures = {"start": PermissionError("read-only file system")}
    pipeline, ledger = started(bad, good)
    pipeline.publish(BATCH)  # before it is known that it cannot
    await until(lambda: good.batches)
    pipeline.publish(BATCH)
    await pipeline.stop(20)
    assert ledger.exporters["bad"] == Completeness(20, 0, {Loss.EXPORTER_DOWN: 20})
    assert len(good.batches) == 2
    assert not bad.stopped


async def test_an_exporter_that_hangs_at_its_start_holds_up_nobody() -> None:
    """Broken: a server that does not answer keeps the agent from profiling, and from ending."""
    bad, good = FakeExporter("bad"), FakeExporter("good")
    bad.hanging = {"start"}
    pipeline, ledger = started(bad, good)
    pipeline.publish(BATCH)
    await until(lambda: good.batches)
    await pipeline.stop(0.05)
    assert ledger.exporters["bad"] == Completeness(10, 0, {Loss.EXPORTER_DOWN: 10})
    assert good.stopped


@pytest.mark.parametrize("method", ["export", "stop"])
async def test_a_slow_exporter_does_not_hold_up_the_end(method: str) -> None:
    """Broken: Ctrl-C waits for a server, other exporters' results are lost, or leftovers are not counted."""
    slow, good = FakeExporter("slow"), FakeExporter("good", ["a file"])
    slow.hanging = {method}
    pipeline, ledger = started(slow, good)
    pipeline.publish(BATCH)
    pipeline.publish(BATCH)
    begin = time.monotonic()
    assert await pipeline.stop(0.1) == ["a file"]
    assert time.monotonic() - begin < 10, "the fake hangs for thirty seconds"
    entry = ledger.exporters["slow"]
    assert entry.expected == 20 == entry.kept + sum(entry.lost.values())
    pipeline.publish(BATCH)
    assert ledger.exporters["slow"].expected == 30, "what comes after the end is counted too"


async def test_an_exporter_that_fails_to_stop_leaves_the_others_results() -> None:
    """Broken: one failure at the end hides the names of the files that were written."""
    bad, good = FakeExporter("bad"), FakeExporter("good", ["a file"])
    bad.failures = {"stop": OSError("no space left")}
    pipeline, _ = started(bad, good)
    assert await pipeline.stop(20) == ["a file"]


async def test_an_end_at_leisure_can_be_hurried() -> None:
    """Broken: Ctrl-C while the last file is written is ignored for a minute."""
    slow = FakeExporter("slow")
    slow.hanging = {"stop"}
    pipeline, _ = started(slow)
    begin = time.monotonic()
    ending = asyncio.create_task(pipeline.stop(60))
    await asyncio.sleep(0.01)
    pipeline.hurry(0.05)
    pipeline.hurry(50)  # never lengthens
    assert await ending == []
    assert time.monotonic() - begin < 10


losses = st.dictionaries(st.sampled_from(Loss), st.integers(0, 1000))
entries = st.builds(
    lambda kept, lost, degraded: Completeness(kept + sum(lost.values()), kept, lost, degraded),
    st.integers(0, 10**6),
    losses,
    losses,
)


@given(st.lists(entries, max_size=6), st.sampled_from(Loss))
def test_completeness_always_adds_up(several: list[Completeness], cause: Loss) -> None:
    """Broken: losses vanish or appear when entries are summed or dropped."""
    total = sum(several, Completeness())
    for entry in (total, total.drop(cause)):
        assert entry.expected == entry.kept + sum(entry.lost.values())
        assert 0 <= entry.ratio <= 1
    assert total.expected == sum(entry.expected for entry in several)
    assert total.drop(cause).kept == 0
    assert total.drop(cause).expected == total.expected


def test_nothing_expected_is_complete() -> None:
    """Broken: a division by zero for a task that saw nothing."""
    assert Completeness().ratio == 1
    assert Completeness().drop(Loss.QUEUE_FULL) == Completeness()


@given(st.lists(st.tuples(st.sampled_from(("a", "b")), st.booleans(), st.integers(0, 100)), max_size=20))
def test_the_ledger_adds_up_by_exporter(events: list[tuple[str, bool, int]]) -> None:
    """Broken: the closing sentence of `rover run` names wrong numbers."""
    ledger = Ledger()
    for exporter, arrived, samples in events:
        if arrived:
            ledger.delivered(exporter, samples)
        else:
            ledger.dropped(exporter, samples, Loss.QUEUE_FULL)
    for exporter in {name for name, *_ in events}:
        entry = ledger.exporters[exporter]
        assert entry.expected == sum(count for name, _, count in events if name == exporter)
        assert entry.kept == sum(count for name, arrived, count in events if name == exporter and arrived)
        assert entry.expected == entry.kept + sum(entry.lost.values())


def test_the_ledger_keeps_profilers_apart() -> None:
    """Broken: one profiler's losses are blamed on another."""
    ledger = Ledger()
    ledger.profiled("A", Completeness(10, 9, {Loss.MAP_FULL: 1}))
    ledger.profiled("A", Completeness(5, 5, {}, {Loss.UNSYMBOLIZED: 2}))
    ledger.profiled("B", Completeness(1, 1))
    assert ledger.profilers == {
        "A": Completeness(15, 14, {Loss.MAP_FULL: 1}, {Loss.UNSYMBOLIZED: 2}),
        "B": Completeness(1, 1),
    }


async def test_what_an_exporter_loses_later_is_moved_from_kept_to_lost() -> None:
    """Broken: what waited in vain for a backend's return counts as delivered."""
    exporter = FakeExporter("held")
    pipeline, ledger = started(exporter)
    pipeline.publish(BATCH)
    await pipeline.stop(20)
    ledger.lost_later("held", 4, Loss.QUEUE_FULL)
    assert ledger.exporters["held"] == Completeness(10, 6, {Loss.QUEUE_FULL: 4})
