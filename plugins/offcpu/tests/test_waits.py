"""Off-CPU profiles against programs whose waits are known, by the kernel's account of their threads."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from programs import Account, go, process_of, read_accounts

from rover_bpf.stackprofiler import StackProfiler
from rover_core.errors import UsageError
from rover_core.model import Loss, Profile, StackSample, Task, merge_profiles
from rover_offcpu.profiler import create
from rover_offcpu.settings import OffCpuSettings

pytestmark = pytest.mark.kernel

TIMES = 23
THREADS = {"sleep": 1, "mutex": 4, "pipe": 2, "file": 1, "pool": 5}
"""Besides the main one, which waits for them."""
# A switch itself takes time, which is neither the one nor the other's account of waiting; an emulated one, this much.
SWITCH_NS = 150e3 if "ROVER_SLOW_MACHINE" in os.environ else 0


@pytest.fixture
def profiler() -> Iterator[StackProfiler]:
    profiler = create(OffCpuSettings())
    yield profiler
    profiler.close()


@pytest.fixture
def file_on_disk(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(bytes(TIMES << 20))
    return path


ProfileWaits = Callable[..., tuple[Profile, dict[str, Account]]]


@pytest.fixture
def profile_waits(profiler, build, start, file_on_disk: Path) -> ProfileWaits:  # type: ignore[no-untyped-def]
    """profile_waits("mutex", min_block=0): all that tests/programs/waits.c does, and its own accounts, by the
    functions of its threads.

    Some virtual machines' kernels do not report switches away from certain processes, so now and then the end of a
    wait is not seen. It is then in the ledger, and how long it was cannot be known: such a run is repeated.
    """

    def once(mode: str, settings: dict[str, object]) -> tuple[Profile, dict[str, Account]]:
        program = start(build("waits.c"), mode, str(file_on_disk))
        time.sleep(0.2)  # until it waits for the line, so that this wait began before the profile
        profiler.start(Task("waits", "OFF_CPU", settings=settings), [process_of(program)])
        go(program)
        accounts = read_accounts(program)
        profiles = profiler.drain()
        last = profiler.stop("waits")
        assert last is not None
        return merge_profiles([*profiles, last]), accounts

    def run(mode: str, **settings: object) -> tuple[Profile, dict[str, Account]]:
        for _ in range(12):
            profile, accounts = once(mode, settings)
            if Loss.MISSED_EVENT not in profile.completeness.lost:
                break
        assert profile.completeness.lost == {}
        return profile, accounts

    return run


def finished(profile: Profile, *states: str, within: str = "") -> list[StackSample]:
    """Samples of waits that ended, of these states or of all; within: a function that was called."""
    having = [s for s in profile.samples if not within or any(frame.symbol == within for frame in s.user)]
    labelled = [(dict(sample.labels), sample) for sample in having]
    return [s for labels, s in labelled if "unfinished" not in labels and (not states or labels["state"] in states)]


def average_ns(sample: StackSample) -> float:
    return sample.values[0] / sample.values[1]


def total(samples: list[StackSample], value: int) -> int:
    return sum(sample.values[value] for sample in samples)


def slept(profile: Profile) -> list[StackSample]:
    """Waits in clock_nanosleep, without what a thread that was about to sleep waited for its processor."""
    mine = [sample for sample in finished(profile) if ("state", "preempted") not in sample.labels]
    return [sample for sample in mine if any(frame.symbol == "do_nanosleep" for frame in sample.kernel)]


@pytest.mark.parametrize("mode", THREADS)
def test_waits_are_what_the_kernel_says_of_each_thread(profile_waits: ProfileWaits, mode: str) -> None:
    """Wrong: waits are missed, counted twice, measured from the wrong moment, or taken for another thread's."""
    for _ in range(5):
        profile, accounts = profile_waits(mode, min_block=0)
        preempted = {thread: total(finished(profile, "preempted", within=thread), 1) for thread in accounts}
        # A busy machine may preempt a thread in its function before its account begins, or after it has ended.
        if all(preempted[thread] == account.involuntary for thread, account in accounts.items()):
            break
    assert len(accounts) == THREADS[mode] + 1
    for thread, account in accounts.items():
        waits = finished(profile, within=thread)
        assert preempted[thread] == account.involuntary
        assert total(waits, 1) - preempted[thread] == account.voluntary
        switches_ns = SWITCH_NS * account.voluntary
        assert total(waits, 0) == pytest.approx(account.waited_ns, rel=0.02, abs=switches_ns), thread


def test_twenty_three_sleeps_are_twenty_three_waits_of_fifty_milliseconds(profile_waits: ProfileWaits) -> None:
    """Wrong: the count of one kind of wait is off by even one."""
    profile, _ = profile_waits("sleep")
    naps = slept(profile)
    assert total(naps, 1) == TIMES
    assert total(naps, 0) >= TIMES * 50e6
    assert all(sample.kernel[0].symbol == "do_nanosleep" for sample in naps)


@pytest.mark.full_speed
def test_a_sleep_is_as_long_as_it_was_asked_for(profile_waits: ProfileWaits) -> None:
    """Wrong: the moments of leaving and coming back are measured too early or too late.

    A busy machine is late to wake a thread, which is part of its wait: one run of five that was not late will do.
    """
    for _ in range(5):
        profile, _ = profile_waits("sleep")
        naps = slept(profile)
        if total(naps, 0) == pytest.approx(total(naps, 1) * 50e6, rel=0.02):
            break
    else:
        pytest.fail(f"{total(naps, 1)} sleeps of 50 ms took {total(naps, 0) / 1e6} ms, and no better in five runs")


def test_reads_from_disk_are_uninterruptible(profile_waits: ProfileWaits) -> None:
    """Wrong: waiting for a disk cannot be told from waiting for a message."""
    profile, _ = profile_waits("file")
    for_disk = [
        sample
        for sample in finished(profile)
        if any((f.symbol or "").startswith("io_schedule") for f in sample.kernel)
    ]
    assert total(for_disk, 1) >= TIMES
    assert {dict(sample.labels)["state"] for sample in for_disk} <= {"uninterruptible", "preempted"}


def test_preemption_is_told_apart_from_waiting(profiler, build, start) -> None:  # type: ignore[no-untyped-def]
    """Wrong: a busy program looks as if it waited for something."""
    spin = build("spin.c")
    for _ in range(3):  # more than there are processors, so that they take turns
        start("taskset", "1", str(spin), "60000")
    program = start("taskset", "1", str(spin), "60000")
    time.sleep(0.2)
    profiler.start(Task("busy", "OFF_CPU"), [process_of(program)])
    samples: list[StackSample] = []
    deadline = time.monotonic() + 20  # its turn may be long in coming where others are busy too
    while total(samples, 1) <= 5 and time.monotonic() < deadline:
        time.sleep(0.5)
        samples += [sample for profile in profiler.drain() for sample in finished(profile)]
    states = Counter(dict(sample.labels)["state"] for sample in samples for _ in range(sample.values[1]))
    assert states["preempted"] > 5
    assert states.total() - states["preempted"] <= 1


def test_a_thread_that_still_waits_is_accounted_to_the_end_and_marked(profiler, build, start) -> None:  # type: ignore[no-untyped-def]
    """Wrong: a thread that hangs for the whole profile is not in it, and that is the one that was looked for."""
    program = start(build("waits.c"), "sleep")
    time.sleep(0.2)
    profiler.start(Task("hang", "OFF_CPU"), [process_of(program)])
    go(program)
    program.stdout.readline()
    begin_ns = time.monotonic_ns()  # from here on it waits for a line that does not come
    time.sleep(1)
    profile = profiler.stop("hang")
    waited_ns = time.monotonic_ns() - begin_ns
    assert profile is not None
    hanging = [sample for sample in profile.samples if ("unfinished", "true") in sample.labels]
    assert total(hanging, 1) == 1
    assert total(hanging, 0) == pytest.approx(waited_ns, rel=0.1)
    assert any("read" in (frame.symbol or "") for frame in hanging[0].kernel)


def test_short_waits_and_unwanted_states_are_left_out(profile_waits: ProfileWaits) -> None:
    """Wrong: `--min-block` and `--state` do not filter, or filter too much."""
    profile, _ = profile_waits("mutex", min_block="30ms")
    assert finished(profile)
    assert all(sample.values[0] >= 30e6 * sample.values[1] for sample in finished(profile))
    profile, _ = profile_waits("file", state="uninterruptible")
    assert {dict(sample.labels)["state"] for sample in profile.samples} == {"uninterruptible"}


def test_a_wait_longer_than_many_flushes_keeps_its_stack(profiler, build, start) -> None:  # type: ignore[no-untyped-def]
    """Wrong: the stack that was taken at the beginning is gone by the time the wait ends."""
    program = start(build("waits.c"), "pipe")
    time.sleep(0.2)
    profiler.start(Task("long", "OFF_CPU"), [process_of(program)])
    profiles: list[Profile] = []
    go(program)
    while (
        not any(dict(s.labels) for p in profiles for s in p.samples if average_ns(s) > 300e6) and len(profiles) < 60
    ):
        time.sleep(0.02)
        profiles += profiler.drain()
    waits = [sample for profile in profiles for sample in finished(profile) if average_ns(sample) > 300e6]
    assert waits, "the main thread's wait for its threads did not end"
    assert any("futex" in (frame.symbol or "") for frame in waits[0].kernel), waits[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_block": "fast"}, "shortest wait"),
        ({"min_block": -1}, "negative"),
        ({"state": "bored"}, "interruptible"),
    ],
)
def test_settings_that_make_no_sense_are_refused(profiler, settings: dict[str, object], message: str) -> None:  # type: ignore[no-untyped-def]
    """Wrong: a typing error profiles something else than was asked for."""
    with pytest.raises(UsageError, match=message):
        profiler.start(Task("nonsense", "OFF_CPU", settings=settings), None)


PASS_A_BYTE = """
import os, sys, threading, time
from random import random
there, back = os.pipe(), os.pipe()
def answer():
    while True: os.write(back[1], os.read(there[0], 1))
threading.Thread(target=answer, daemon=True).start()
for line in sys.stdin:
    for _ in range(int(line)):
        os.write(there[1], b"x")
        time.sleep(random() * 1e-6)  # leaves another number on the stack each time
        os.read(back[0], 1)
    print("done", flush=True)
"""


def test_stacks_of_a_busy_switcher_are_whole(profiler, start) -> None:  # type: ignore[no-untyped-def]
    """Broken: every wait of a program without frame pointers is shipped, which no ring is large enough for."""
    program = start("/usr/bin/python3", "-c", PASS_A_BYTE)
    time.sleep(0.3)
    profiler.start(Task("waits", "OFF_CPU"), [process_of(program)])
    for turns in [100] * 5 + [10_000]:  # few at first, until the kernel knows how to walk their stacks
        profiler.drain()
        program.stdin.write(f"{turns}\n")
        program.stdin.flush()
        assert program.stdout.readline()
    profile = profiler.stop("waits")
    samples = finished(profile)
    assert total(samples, 1) > 10_000
    assert not {Loss.RING_FULL, Loss.BROKEN_STACK, Loss.TRUNCATED_STACK} & profile.completeness.degraded.keys()
    of_main_thread = [s for s in samples if any(frame.symbol == "_start" for frame in s.user)]
    assert total(of_main_thread, 1) > 0.3 * total(samples, 1)
