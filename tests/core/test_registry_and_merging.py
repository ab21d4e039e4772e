"""What the agent knows of processes, and how profiles of one task become one."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover_core.collector import Collector
from rover_core.logs import configure_logs
from rover_core.model import Completeness, Entity, Loss, Process, ProcessKey, ProfileMerger, merge_profiles
from rover_core.processes import ProcessRegistry
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
