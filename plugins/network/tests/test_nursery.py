"""Workers are forked by a process that has imported what they need."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rover_core.model import Task
from rover_http1.plugin import rover_protocols
from rover_network.profiler import NetworkProfiler, create
from rover_network.settings import NetworkSettings, ProtocolAnalyzeSettings

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def profiler() -> Iterator[NetworkProfiler]:
    profiler = create(NetworkSettings(), ProtocolAnalyzeSettings(parallels=2), rover_protocols)
    profiler.start(Task("always", "NETWORK", ()), [])
    yield profiler
    profiler.close()


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def memory_kb(pid: int, *kinds: str) -> int:
    lines = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines())
    return sum(int(kb) for kind, kb, *_ in lines if kind.rstrip(":") in kinds)


def gone(*pids: int) -> bool:
    """Ended; orphans may still wait for init."""
    stats = [Path(f"/proc/{pid}/stat") for pid in pids]
    return all(not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z" for stat in stats)


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_workers_share_their_memory(profiler: NetworkProfiler) -> None:
    """Broken: each worker takes as much as the first, or imports everything anew."""
    (nursery,) = {parent(pid) for pid in profiler.workers}
    assert parent(nursery) == os.getpid()
    assert Path(f"/proc/{nursery}/comm").read_text() == "rover-nursery\n"
    own = [memory_kb(pid, "Private_Clean", "Private_Dirty") for pid in profiler.workers]
    assert len(own) == 2
    assert max(own) < memory_kb(nursery, "Rss") / 2, own


def test_nothing_is_left_open_in_it(profiler: NetworkProfiler) -> None:
    """Broken: a worker that ends is not noticed, because its end of the talk is open elsewhere; or rings stay."""
    nursery = parent(profiler.workers[0])
    links = [os.readlink(entry) for entry in Path(f"/proc/{nursery}/fd").iterdir() if int(entry.name) > 2]
    assert [link.partition(":")[0] for link in links] == ["socket"]


def test_all_begin_anew_if_it_ends(profiler: NetworkProfiler) -> None:
    """Broken: when the process that workers come from is killed, nothing is read ever after."""
    before = list(profiler.workers)
    nursery = parent(before[0])
    os.kill(nursery, signal.SIGKILL)

    def replaced() -> bool:
        profiler.tick()
        return len(profiler.workers) == 2 and not {*profiler.workers} & {*before}

    wait_for(replaced)
    assert {parent(pid) for pid in profiler.workers} != {nursery}
    assert gone(nursery, *before)


def test_none_is_left_when_the_last_task_ends(profiler: NetworkProfiler) -> None:
    """Broken: an agent that waits for tasks keeps 20 MB for workers that have nothing to do."""
    pids = [*profiler.workers, parent(profiler.workers[0])]
    profiler.stop("always")
    wait_for(lambda: gone(*pids))
