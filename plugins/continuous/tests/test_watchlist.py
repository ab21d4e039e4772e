"""Who is watched for what, and what is made of it."""

import os
import subprocess
import threading
import time

import pytest
from watched_host import SECOND, Host, make_process, policy

from rover_continuous.readings import StatReader, read_load
from rover_continuous.watchlist import Watchlist
from rover_core import procfs
from rover_core.api import RequestSums
from rover_core.model import ProcessKey
from rover_core.policies import Monitor, Uri

CPU, THREADS, LOAD = Monitor.PROCESS_CPU, Monitor.PROCESS_THREAD_COUNT, Monitor.SYSTEM_LOAD
ERRORS, TIMES = Monitor.HTTP_ERROR_RATE, Monitor.HTTP_AVG_RESPONSE_TIME


def newest(watchlist: Watchlist, now_s: float) -> list[float | None]:
    return [look.newest for look in watchlist.looks(round(now_s * SECOND))]


def test_cpu_is_the_share_of_the_interval_of_all_processors(host: Host, watchlist: Watchlist) -> None:
    """Broken: it is the average of the process's life, or above 100 on a host of several processors."""
    process = make_process(host.set(7, cpu_s=9_000))
    watchlist.update([policy("ON_CPU", CPU, 50, 3, 1)], [process])
    watchlist.fetch(100 * SECOND)
    assert newest(watchlist, 100) == [None], "one look says nothing yet"
    host.set(7, cpu_s=9_002)
    watchlist.fetch(101 * SECOND)
    assert newest(watchlist, 101) == [50.0], "two of four processors"
    watchlist.fetch(103 * SECOND)
    assert newest(watchlist, 103) == [0.0]
    (look,) = watchlist.looks(103 * SECOND)
    assert list(look.over) == [50.0]


def test_a_restarted_process_begins_anew(host: Host, watchlist: Watchlist) -> None:
    """Broken: a pid's next process inherits its CPU time and its window, or is not watched."""
    old, rules = make_process(host.set(7, cpu_s=50, start_ticks=1)), [policy("ON_CPU", CPU, 10, 5, 1)]
    watchlist.update(rules, [old])
    watchlist.fetch(10 * SECOND)
    host.set(7, cpu_s=54, start_ticks=1)
    watchlist.fetch(11 * SECOND)
    new = make_process(host.set(7, cpu_s=0.1, start_ticks=2))
    watchlist.fetch(12 * SECOND)
    assert newest(watchlist, 12) == [100.0], "the old one is known to be gone by its start"
    watchlist.update(rules, [new])
    watchlist.fetch(13 * SECOND)
    assert newest(watchlist, 13) == [None]
    host.set(7, cpu_s=0.5, start_ticks=2)
    watchlist.fetch(14 * SECOND)
    assert newest(watchlist, 14) == [pytest.approx(10.0)]


def test_another_services_policy_changes_nothing(host: Host, watchlist: Watchlist) -> None:
    """Broken: one service's update clears what was seen of another (contract section 8.2)."""
    shop, cart = make_process(host.set(1, threads=9)), make_process(host.set(2, threads=3), service="cart")
    first = policy("ON_CPU", THREADS, 5, 4, 2)
    watchlist.update([first], [shop, cart])
    for second in (20, 21, 22):
        watchlist.fetch(second * SECOND)
    second_policy = policy("OFF_CPU", THREADS, 2, 10, 1, service="cart")
    watchlist.update([first, second_policy], [shop, cart])
    watchlist.fetch(23 * SECOND)
    ours, theirs = watchlist.looks(23 * SECOND)
    assert list(ours.over) == [9, 9, 9, 9]
    assert list(theirs.over) == [3]
    watchlist.update([second_policy], [shop, cart])
    assert [look.process for look in watchlist.looks(23 * SECOND)] == [cart]


def test_each_threshold_has_its_own_period(host: Host, watchlist: Watchlist) -> None:
    """Broken: a count is held against the longest period of all (contract section 8.2)."""
    process = make_process(host.set(1, threads=50))
    watchlist.update([policy("ON_CPU", THREADS, 10, 2, 1), policy("OFF_CPU", THREADS, 10, 20, 5)], [process])
    for second in range(30, 34):
        watchlist.fetch(second * SECOND)
    host.set(1, threads=1)
    for second in range(34, 37):
        watchlist.fetch(second * SECOND)
    short, long = watchlist.looks(36 * SECOND)
    assert (len(short.over), short.passed) == (0, False)
    assert (len(long.over), long.passed) == (4, False), "four slots of five"
    host.set(1, threads=50)
    watchlist.fetch(37 * SECOND)
    short, long = watchlist.looks(37 * SECOND)
    assert (short.passed, long.passed) == (True, True)


def test_new_processes_of_a_service_are_watched_and_kernel_threads_are_not(host: Host, watchlist: Watchlist) -> None:
    """Broken: a process that came after its policy is never watched (contract section 8.2)."""
    from dataclasses import replace

    rules, first = [policy("ON_CPU", THREADS, 1, 2, 1)], make_process(host.set(1))
    watchlist.update(rules, [first])
    second, kernel = make_process(host.set(2)), replace(make_process(host.set(3)), kernel_thread=True)
    watchlist.update(rules, [first, second, kernel])
    watchlist.fetch(5 * SECOND)
    assert [look.process.pid for look in watchlist.looks(5 * SECOND)] == [1, 2]
    watchlist.update(rules, [second])
    assert len(watchlist.reader) == 1, "the descriptor of what is gone is closed"


def test_the_load_is_one_value_for_all(host: Host, watchlist: Watchlist) -> None:
    """Broken: it is read for each process, or not /proc/loadavg's."""
    watchlist.update([policy("ON_CPU", LOAD, 0, 2, 1)], [make_process(host.set(1)), make_process(host.set(2))])
    before = read_load()
    watchlist.fetch(5 * SECOND)
    after = read_load()
    values = newest(watchlist, 5)
    assert len(values) == 2
    assert set(values) <= {before, after}


def test_requests_are_added_up_by_process_and_uri(host: Host, watchlist: Watchlist) -> None:
    """Broken: errors of one URI are another's, or a mean is one of means."""
    a, b = Uri(path="/a"), Uri(regex="^/b")
    both = [policy("NETWORK", ERRORS, 10, 5, 1, a, b), policy("NETWORK", TIMES, 100, 5, 1, a, b)]
    watchlist.update(both, [make_process(1), make_process(2)])
    assert {(each.uri, each.pids) for each in watchlist.request_watches} == {
        (a, frozenset({1, 2})),
        (b, frozenset({1, 2})),
    }
    watchlist.add([RequestSums(a, 1, 50, 4, 1, 400_000_000), RequestSums(a, 1, 50, 1, 0, 200_000_000)])
    watchlist.add([RequestSums(b, 1, 50, 2, 0, 2_000_000), RequestSums(a, 99, 50, 7, 7, 7)])
    found = {
        (look.process.pid, look.rule.threshold.monitor, look.uri): look.newest
        for look in watchlist.looks(52 * SECOND)
        if look.newest is not None
    }
    assert found == {(1, ERRORS, a): 20.0, (1, TIMES, a): 120.0, (1, ERRORS, b): 0.0, (1, TIMES, b): 1.0}
    assert not any(look.over for look in watchlist.looks(56 * SECOND)), "traffic has stopped"


def test_readings_are_the_kernels() -> None:
    """Broken: CPU time or threads are not what the kernel says of a real process, or a dead one still answers."""
    reader = StatReader()
    key = procfs.process_key(os.getpid())
    assert key is not None
    first = reader.read(key)
    until_s = time.process_time() + 0.3
    ended = threading.Event()
    extra = [threading.Thread(target=ended.wait) for _ in range(3)]
    for thread in extra:
        thread.start()
    while time.process_time() < until_s:
        pass
    second = reader.read(key)
    ended.set()
    assert first is not None
    assert second is not None
    assert 28 <= second.ticks - first.ticks <= 60
    assert second.threads - first.threads == 3
    child = subprocess.Popen(["sleep", "60"])
    child_key = procfs.process_key(child.pid)
    assert child_key is not None
    assert reader.read(child_key) is not None
    child.kill()
    child.wait()
    assert reader.read(child_key) is None
    assert reader.read(ProcessKey(os.getpid(), 1)) is None, "another process had this pid"
    reader.keep([])
    assert len(reader) == 0


def test_without_room_for_descriptors_it_reads_all_the_same(host: Host) -> None:
    """Broken: an agent that may open few files watches few processes, or runs out of them."""
    reader = StatReader(host.root, room=1)
    keys = [host.set(pid, threads=pid) for pid in (1, 2, 3)]
    for _ in range(2):
        readings = [reader.read(key) for key in keys]
        assert [each.threads for each in readings if each] == [1, 2, 3]
    assert len(reader) == 1
    reader.close()
