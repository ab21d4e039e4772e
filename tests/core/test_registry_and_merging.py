"""What the agent knows of processes, and how profiles of one task become one."""

import asyncio
import os
import select
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover_core.collector import Collector
from rover_core.logs import configure_logs
from rover_core.model import Completeness, Entity, Loss, Process, ProcessKey, ProfileMerger, merge_profiles
from rover_core.processes import ProcessRegistry, join_processes
from rover_core.testing import FakeContext, FakeDiscoverer, make_profile, make_sample


def process(pid: int, *services: str) -> Process:
    entities = tuple(Entity("OS_LINUX", service, "host", "app") for service in services)
    return Process(ProcessKey(pid, pid), 1, "app", "/bin/app", ("app",), 0, entities=entities)


async def test_two_discoverers_are_joined() -> None:
    """Broken: a container's process appears twice, or loses the identity that one of the two knows."""
    host = FakeDiscoverer("host", [process(1, "web"), process(2, "db")])
    kubernetes = FakeDiscoverer("kubernetes", [process(2, "shop::db", "db"), process(3, "shop::web")])
    registry = ProcessRegistry([host, kubernetes])
    await registry.scan()
    assert {each.pid: [entity.service for entity in each.entities] for each in registry.processes} == {
        1: ["web"],
        2: ["db", "shop::db"],
        3: ["shop::web"],
    }
    found = registry.find(2)
    assert found is not None
    assert found.entities[1].service == "shop::db"
    assert registry.find(9) is None
    host.found = []
    await registry.scan()
    assert len(registry) == 2, "what is no longer found is gone"


async def test_a_failing_discoverer_is_logged_once_and_leaves_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: one plugin's failure hides all processes, or fills the log every three seconds."""
    configure_logs("WARNING", "json")
    good, bad = FakeDiscoverer("good", [process(1)]), FakeDiscoverer("bad", [process(2)])
    bad.failure = OSError("no such socket")
    registry = ProcessRegistry([bad, good])
    for _ in range(3):
        await registry.scan()
    assert [each.pid for each in registry.processes] == [1]
    assert capsys.readouterr().err.count("no such socket") == 1
    bad.failure = None
    await registry.scan()
    assert len(registry) == 2
    bad.failure = OSError("again")
    await registry.scan()
    assert capsys.readouterr().err.count("again") == 1, "a new outage is told anew"


class Announcer(FakeDiscoverer):
    """Announces by a pipe. scans: when it was asked, by time.monotonic."""

    def __init__(self, found: list[Process]) -> None:
        super().__init__("announcer", found)
        self.reader, self.writer = os.pipe()
        self.scans: list[float] = []
        self.closed = False

    def fileno(self) -> int | None:
        return self.reader

    def close(self) -> None:
        self.closed = True
        os.close(self.reader)
        os.close(self.writer)

    def announce(self) -> None:
        os.write(self.writer, b"x")

    def scan(self) -> Iterable[Process]:
        self.scans.append(time.monotonic())
        if select.select([self.reader], [], [], 0)[0]:
            os.read(self.reader, 4096)
        return super().scan()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_an_announcement_is_heeded_at_once_and_asks_nobody_else() -> None:
    """Broken: a process that lives for two seconds is never seen; or every exec on the host asks all plugins."""
    announcer, other = Announcer([process(1, "web")]), FakeDiscoverer("other", [process(2, "db")])
    registry = ProcessRegistry([other, announcer])
    scanning = asyncio.create_task(registry.keep_scanning(3600 * 10**9))
    await _until(lambda: len(registry) == 2)
    announcer.found, other.found = [process(1, "web"), process(3, "new")], []
    announcer.announce()
    await _until(lambda: registry.find(3) is not None)
    assert registry.find(2) is not None, "the other was not asked"
    scanning.cancel()
    with suppress(asyncio.CancelledError):
        await scanning
    assert announcer.closed


async def test_announcements_are_gathered_and_do_not_replace_the_regular_times() -> None:
    """Broken: a build with a thousand processes a second has the agent scan a thousand times a second."""
    announcer, other = Announcer([]), FakeDiscoverer("other", [])
    registry = ProcessRegistry([announcer, other])
    scanning = asyncio.create_task(registry.keep_scanning(200_000_000))
    end_s = time.monotonic() + 1
    while time.monotonic() < end_s:
        announcer.announce()
        await asyncio.sleep(0.001)
    other.found = [process(4)]
    await _until(lambda: registry.find(4) is not None)
    scanning.cancel()
    with suppress(asyncio.CancelledError):
        await scanning
    gaps = [after - before for before, after in zip(announcer.scans, announcer.scans[1:], strict=False)]
    assert 3 < len(announcer.scans) < 40, "50 ms apart at least, 200 ms at most"
    assert sum(gap < 0.04 for gap in gaps) <= len(gaps) / 4, "only a regular time may follow sooner"


async def test_a_discoverer_without_a_descriptor_is_asked_regularly() -> None:
    """Broken: where the kernel does not announce processes none are found."""
    announcer = Announcer([])
    announcer.fileno = lambda: None  # type: ignore[method-assign]
    registry = ProcessRegistry([announcer])
    scanning = asyncio.create_task(registry.keep_scanning(10_000_000))
    await _until(lambda: len(announcer.scans) > 3)
    scanning.cancel()
    announcer.close()


def test_properties_of_two_discoverers_are_joined() -> None:
    """Broken: the pod's name, which one knows, or the command line, which the other knows, is lost."""
    one = replace(process(1), properties=(("pid", "1"), ("a", "first")))
    two = replace(process(1), properties=(("a", "second"), ("pod_name", "web-0")))
    (joined,) = join_processes([[one], [two]]).values()
    assert dict(joined.properties) == {"pid": "1", "a": "first", "pod_name": "web-0"}


counts = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 50)), min_size=1, max_size=30)


@given(counts, st.sampled_from([None, 2, 4]))
def test_merging_loses_no_count(places: list[tuple[str, int]], room: int | None) -> None:
    """Broken: a long run's table shows other totals than the sum of its profiles."""
    merger = ProfileMerger(room)
    for number, (name, count) in enumerate(places):
        merger.add(make_profile(make_sample(count=count, stack=(name,)), start_ns=number, end_ns=number + 1))
    result = merger.result()
    assert result is not None
    kept = sum(sample.values[0] for sample in result.samples)
    assert kept + merger.let_go == sum(count for _, count in places) == result.completeness.kept
    assert room is None or len(result.samples) <= room
    assert (result.start_ns, result.end_ns) == (0, len(places))


def test_merging_lets_the_lightest_go() -> None:
    """Broken: a run of weeks forgets its hottest function."""
    merger = ProfileMerger(room=4)
    for count in (100, 1, 2, 90, 3):
        merger.add(make_profile(make_sample(count=count, stack=(str(count),))))
    result = merger.result()
    assert result is not None
    assert {sample.values[0] for sample in result.samples} == {100, 90}
    assert merger.let_go == 6


def test_merging_adds_both_values_and_the_ledger() -> None:
    """Broken: CPU time and counts of a merged profile tell different stories."""
    one = make_profile(make_sample(count=2), completeness=Completeness(3, 2, {Loss.MAP_FULL: 1}))
    merged = merge_profiles([one, replace(one, last=True)])
    (sample,) = merged.samples
    assert sample.values == (4, 4 * 9_000_000)
    assert merged.completeness == Completeness(6, 4, {Loss.MAP_FULL: 2})
    assert merged.last
    with pytest.raises(ValueError, match="no profile"):
        merge_profiles([])


async def test_the_collector_keeps_tasks_apart() -> None:
    """Broken: the closing table of `rover run` mixes on-CPU samples with others."""
    collector = Collector(room=8)
    await collector.start(FakeContext())
    for task in ("a", "b", "a"):
        await collector.export(make_profile(task_id=task))
    assert list(await collector.stop()) == []
    assert [(each.task_id, each.samples[0].values[0]) for each in collector.profiles] == [("a", 2), ("b", 1)]
