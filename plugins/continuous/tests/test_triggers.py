"""What is begun, with which causes, and what is not begun again yet. The clock is the test's."""

from typing import Any

import pytest
from watched_host import SECOND, Host, make_process, nameless, policy

from rover_continuous.triggers import NETWORK, TriggerBook
from rover_continuous.watchlist import Watchlist
from rover_core.api import RequestSums, TaskState
from rover_core.model import Process
from rover_core.policies import CAUSES, Cause, Monitor, Threshold, Trigger, Uri

MINUTE = 60 * SECOND
THREADS, ERRORS = Monitor.PROCESS_THREAD_COUNT, Monitor.HTTP_ERROR_RATE
ALL = ("ON_CPU", "OFF_CPU", "NETWORK")


class Desk:
    """A watchlist, a book and the states of tasks."""

    def __init__(self, watchlist: Watchlist) -> None:
        self.watchlist = watchlist
        self.states: dict[str, TaskState] = {}
        self.book = TriggerBook(10 * MINUTE, 20 * MINUTE, lambda task: self.states.get(task, TaskState.OVER))

    def check(self, now_ns: int, profilers: tuple[str, ...] = ALL) -> list[Trigger]:
        """Follow, check, and begin what is to be begun."""
        self.watchlist.fetch(now_ns)
        self.book.follow(now_ns)
        begun = []
        for dimension, trigger in self.book.decide(self.watchlist.looks(now_ns), profilers, now_ns):
            self.book.begin(dimension, trigger.task.id, now_ns)
            self.states[trigger.task.id] = TaskState.RUNNING
            begun.append(trigger)
        return begun


@pytest.fixture
def desk(watchlist: Watchlist) -> Desk:
    return Desk(watchlist)


def test_a_task_runs_once_and_again_after_the_silence(desk: Desk, host: Host) -> None:
    """Broken: the same is begun while it runs or before the silence is over, or never again."""
    process = make_process(host.set(1, threads=9))
    desk.watchlist.update([policy("ON_CPU", THREADS, 5, 5, 1)], [process])
    (trigger,) = desk.check(100 * SECOND)
    task = trigger.task
    assert (task.profiler, task.processes, task.duration_ns) == ("ON_CPU", (process.key,), 10 * MINUTE)
    assert trigger.causes == (Cause(THREADS, 5, 9),)
    assert task.attributes[CAUSES] == "shop (1): PROCESS_THREAD_COUNT 9 threads, threshold 5 threads"
    begun_ns = 101 * SECOND
    assert desk.check(begun_ns) == [], "it is seen to run: silence counts from here"
    assert desk.check(begun_ns + 9 * MINUTE) == []
    desk.states[task.id] = TaskState.OVER
    assert desk.check(begun_ns + 10 * MINUTE) == []
    assert desk.check(begun_ns + 20 * MINUTE - SECOND) == []
    (again,) = desk.check(begun_ns + 20 * MINUTE)
    assert again.task.processes == (process.key,)


def test_one_that_outlasts_the_silence_is_not_begun_beside_itself(desk: Desk, host: Host) -> None:
    """Broken: a silence shorter than the task begins a second one while the first runs."""
    desk.book.silence_ns = SECOND
    desk.watchlist.update([policy("ON_CPU", THREADS, 5, 5, 1)], [make_process(host.set(1, threads=9))])
    (trigger,) = desk.check(100 * SECOND)
    assert desk.check(200 * SECOND) == []
    desk.states[trigger.task.id] = TaskState.OVER
    assert len(desk.check(201 * SECOND)) == 1


def test_a_task_that_could_not_start_blocks_nothing_for_long(desk: Desk, host: Host) -> None:
    """Broken: after one failure it is never tried again (contract section 8.2), or with every check."""
    desk.watchlist.update([policy("ON_CPU", THREADS, 5, 5, 1)], [make_process(host.set(1, threads=9))])
    (trigger,) = desk.check(100 * SECOND)
    desk.states[trigger.task.id] = TaskState.FAILED
    assert desk.check(105 * SECOND) == []
    assert len(desk.check(140 * SECOND)) == 1


def test_a_task_that_failed_after_it_had_run_is_silent_as_any(desk: Desk, host: Host) -> None:
    """Broken: a profiler that fails at its end is begun over and over."""
    desk.watchlist.update([policy("ON_CPU", THREADS, 5, 5, 1)], [make_process(host.set(1, threads=9))])
    (trigger,) = desk.check(100 * SECOND)
    desk.check(101 * SECOND)
    desk.states[trigger.task.id] = TaskState.FAILED
    assert desk.check(5 * MINUTE) == []
    assert len(desk.check(30 * MINUTE)) == 1


def test_two_policies_on_one_process_each_begin_their_own(desk: Desk, host: Host) -> None:
    """Broken: one policy's task silences another's of another kind, or equal ones are begun twice."""
    process = make_process(host.set(1, threads=9))
    twice = policy("ON_CPU", THREADS, 5, 5, 1)
    higher = policy("ON_CPU", THREADS, 7, 5, 1)
    desk.watchlist.update([twice, twice, higher, policy("OFF_CPU", THREADS, 3, 5, 1)], [process])
    on_cpu, off_cpu = desk.check(100 * SECOND)
    assert (on_cpu.task.profiler, off_cpu.task.profiler) == ("ON_CPU", "OFF_CPU")
    assert on_cpu.causes == (Cause(THREADS, 5, 9), Cause(THREADS, 7, 9))


def test_the_value_told_is_the_oldest_that_was_too_much(desk: Desk, host: Host) -> None:
    """Broken: a cause's value is not the one of contract section 3.6."""
    process = make_process(host.set(1, threads=3))
    desk.watchlist.update([policy("ON_CPU", THREADS, 5, 5, 3)], [process])
    desk.watchlist.fetch(100 * SECOND)
    for second, threads in ((101, 8), (102, 4), (103, 6)):
        host.set(1, threads=threads)
        assert desk.check(second * SECOND) == []
    host.set(1, threads=7)
    (trigger,) = desk.check(104 * SECOND)
    assert trigger.causes == (Cause(THREADS, 5, 8),)


def test_processes_of_one_entity_are_profiled_together(desk: Desk, host: Host) -> None:
    """Broken: a backend's process, which has several pids, is profiled several times at once."""
    workers = [make_process(host.set(pid, threads=pid)) for pid in (4, 9, 10)]
    desk.watchlist.update([policy("ON_CPU", THREADS, 5, 5, 1)], workers)
    (trigger,) = desk.check(100 * SECOND)
    assert trigger.task.processes == (workers[1].key, workers[2].key)


def test_processes_that_were_picked_one_by_one_are_silenced_one_by_one(desk: Desk, host: Host) -> None:
    """Broken: `rover watch` of two programs of one name profiles the first alone."""
    a, b = (nameless(make_process(host.set(pid, threads=2))) for pid in (1, 2))

    def everything(process: Process) -> bool:
        return True

    desk.watchlist.update([policy("ON_CPU", THREADS, 5, 5, 1, selects=everything)], [a, b])
    assert desk.check(100 * SECOND) == []
    host.set(1, threads=9)
    assert [t.task.processes for t in desk.check(101 * SECOND)] == [(a.key,)]
    host.set(2, threads=9)
    assert [t.task.processes for t in desk.check(102 * SECOND)] == [(b.key,)]


def test_the_load_begins_one_task_for_all_that_were_picked(desk: Desk, host: Host) -> None:
    """Broken: `rover watch --load 4` begins a task for each process of the host."""
    for count, whole_host in ((3, False), (100, True)):
        processes = [make_process(host.set(pid)) for pid in range(1, count + 1)]
        rule = policy("ON_CPU", Monitor.SYSTEM_LOAD, 0, 5, 1, selects=lambda process: True)
        desk.watchlist.update([rule], processes)
        (trigger,) = desk.check(count * MINUTE)
        keys = None if whole_host else tuple(process.key for process in processes)
        assert trigger.task.processes == keys
        desk.book = TriggerBook(10 * MINUTE, 20 * MINUTE, lambda task: TaskState.OVER)


def test_network_tasks_are_an_instances(desk: Desk) -> None:
    """Broken: another process than the contract's speaks for an instance, or its causes are mixed with others'."""
    names = (("sidecar", ()), ("plain", ("k8s-service",)), ("app", ("mesh-application",)))
    processes = [make_process(pid, process=name, labels=labels) for pid, (name, labels) in enumerate(names, 1)]
    elsewhere = make_process(9, instance="other")
    desk.watchlist.update([policy(NETWORK, ERRORS, 10, 5, 1, Uri(path="/a.b"))], [*processes, elsewhere])
    sums = [RequestSums(Uri(path="/a.b"), pid, 99, 10, errors, 1) for pid, errors in ((1, 5), (2, 2), (3, 9), (9, 1))]
    desk.watchlist.add(sums)
    first, second = desk.check(100 * SECOND)
    assert first.process.pid == 3
    assert [key.pid for key in first.task.processes or ()] == [1, 2, 3]
    assert first.causes == (Cause(ERRORS, 10, 90.0, Uri(path="/a.b")),)
    assert [key.pid for key in second.task.processes or ()] == [9]


@pytest.mark.parametrize(
    ("uris", "expressions"),
    [
        ((Uri(path="/a.b"),), [r"^/a\.b$"]),
        ((Uri(path="/a"), Uri(path="/b")), ["^/a$", "^/b$"]),
        ((Uri(regex="^/api"),), ["^/api"]),
        ((Uri(), Uri(path="/a")), [None]),
    ],
)
def test_what_is_sampled_are_the_uris_that_were_too_much(desk: Desk, uris: Any, expressions: Any) -> None:
    """Broken: a path is taken for an expression (contract section 8.2), or other requests are sampled."""
    desk.watchlist.update([policy(NETWORK, ERRORS, 10, 5, 1, *uris)], [make_process(1)])
    desk.watchlist.add([RequestSums(uri, 1, 99, 1, 1, 1) for uri in uris])
    (trigger,) = desk.check(100 * SECOND)
    rules = trigger.task.settings["sampling"]
    assert [rule.uri_regex for rule in rules] == expressions
    assert all((r.min_duration_ns, r.when_4xx, r.when_5xx) == (0, True, True) for r in rules)
    assert all((r.attach_request, r.attach_response, r.max_request_size) == (True, True, None) for r in rules)


def test_a_profiler_that_is_not_there_is_named_once(desk: Desk, host: Host, capsys: Any) -> None:
    """Broken: a policy for what is not installed crashes (contract section 8.2), or fills the log."""
    desk.watchlist.update([policy("HEAP", THREADS, 5, 5, 1)], [make_process(host.set(1, threads=9))])
    assert desk.check(100 * SECOND) == desk.check(200 * SECOND) == []
    out, err = capsys.readouterr()
    assert (out + err).count("no plugin here profiles HEAP") == 1


@pytest.mark.parametrize(
    ("value", "period", "count"), [(1, 0, 1), (1, 5, 0), (1, 5, 6), (float("nan"), 5, 1), (1, 10**9, 1)]
)
def test_thresholds_that_are_none_are_refused(value: float, period: int, count: int) -> None:
    """Broken: a period of a year takes memory, or a count above the period is waited for for ever."""
    with pytest.raises(ValueError, match="is"):
        Threshold(THREADS, value, period, count)


def test_a_policy_is_about_its_service_alone(desk: Desk, host: Host) -> None:
    """Broken: processes of other services are profiled."""
    others = [make_process(host.set(1, threads=9), service="cart"), nameless(make_process(host.set(2, threads=9)))]
    desk.watchlist.update([policy("ON_CPU", THREADS, 5, 5, 1)], others)
    assert desk.check(100 * SECOND) == []
