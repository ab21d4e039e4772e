"""On-CPU profiles against programs that know what they did."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

import pytest
from programs import go, process_of

from rover_bpf.stackprofiler import StackProfiler
from rover_core.model import Loss, Profile, StackSample, Task, merge_profiles
from rover_oncpu.profiler import create
from rover_oncpu.settings import OnCpuSettings

pytestmark = pytest.mark.kernel

PERIOD_NS = 9_000_000


@pytest.fixture
def profiler() -> Iterator[StackProfiler]:
    profiler = create(OnCpuSettings(dump_period=PERIOD_NS))
    yield profiler
    profiler.close()


def profile_until_exit(profiler: StackProfiler, program: "Popen[str]", task: Task) -> Profile:
    """Profile a program from its "go" to its end, ticking and draining as the agent does."""
    profiler.start(task, [process_of(program)])
    go(program)
    profiles: list[Profile] = []
    while program.poll() is None:
        time.sleep(0.2)
        profiler.tick()
        profiles += profiler.drain()
    last = profiler.stop(task.id)
    assert last is not None
    return merge_profiles([*profiles, last])


def own_time(samples: tuple[StackSample, ...]) -> Counter[str]:
    """Samples by innermost user function."""
    counts: Counter[str] = Counter()
    for sample in samples:
        counts[sample.user[0].label if sample.user else "none"] += sample.values[0]
    return counts


def test_shares_of_two_functions_are_those_the_program_measured(profiler, build, start) -> None:  # type: ignore[no-untyped-def]
    """Wrong: sampling is biased, or samples are attributed to the wrong function."""
    program = start(build("shares.c"), "6000")
    profile = profile_until_exit(profiler, program, Task("shares", "ON_CPU", settings={"period": "1ms"}))
    larger, smaller = map(int, program.stdout.read().split())
    counts = own_time(profile.samples)
    measured = counts["three_quarters"] / (counts["three_quarters"] + counts["one_quarter"])
    assert measured == pytest.approx(larger / (larger + smaller), abs=0.03)


@pytest.mark.full_speed
def test_samples_times_period_is_the_cpu_time(profiler, build, start) -> None:  # type: ignore[no-untyped-def]
    """Wrong: ticks are lost or counted twice.

    The best of three: a virtual machine whose host lends its processors to others for longer than a period has no
    ticks meanwhile, yet the program's clock goes on.
    """
    totals = []
    for attempt in range(3):
        program = start(build("shares.c"), "3000")
        profile = profile_until_exit(profiler, program, Task(f"total {attempt}", "ON_CPU"))
        cpu_ns = sum(map(int, program.stdout.read().split()))
        assert profile.completeness.lost == {}
        assert sum(sample.values[1] for sample in profile.samples) == sum(
            sample.values[0] * PERIOD_NS for sample in profile.samples
        )
        totals.append(sum(sample.values[1] for sample in profile.samples) / cpu_ns)
        if totals[-1] == pytest.approx(1, abs=0.03):
            break
    assert totals[-1] == pytest.approx(1, abs=0.03), totals


def test_stacks_are_whole(profiler, build, start) -> None:  # type: ignore[no-untyped-def]
    """Wrong: frames are missing, doubled or in the wrong order between the leaf and main.

    A tick on one of the few instructions before a function has set up its frame misses its caller: no frame pointer
    tells. That is rare, and the only thing allowed.
    """
    program = start(build("shares.c"), "1500")
    profile = profile_until_exit(profiler, program, Task("whole", "ON_CPU", settings={"period": "1ms"}))
    expected = ["work", *(f"call_{depth}" for depth in range(1, 24)), "main"]
    inside = [sample for sample in profile.samples if sample.user and sample.user[0].symbol == "three_quarters"]
    total = sum(sample.values[0] for sample in inside)
    whole = sum(s.values[0] for s in inside if [frame.symbol for frame in s.user[1:26]] == expected)
    assert total > 200  # of 1 100, but for machines that cannot keep up with the clock
    assert whole > 0.99 * total


@pytest.mark.full_speed
def test_fifty_thousand_distinct_stacks_lose_no_count(profiler, build, start) -> None:  # type: ignore[no-untyped-def]
    """Wrong: stacks collide, or maps fill up before they are emptied, and counts vanish."""
    program = start(build("many_stacks.c"), "2", "8000")
    profile = profile_until_exit(
        profiler, program, Task("many", "ON_CPU", settings={"period": "100us", "unwind": "fp"})
    )
    completeness = profile.completeness
    assert len({sample.user for sample in profile.samples}) >= 50_000
    assert completeness.lost == {}
    assert completeness.kept == completeness.expected == sum(sample.values[0] for sample in profile.samples)
    assert completeness.degraded.get(Loss.MAP_FULL, 0) == 0


@pytest.mark.full_speed
def test_a_full_map_keeps_the_count_and_says_so(profiler, build, start) -> None:  # type: ignore[no-untyped-def]
    """Wrong: samples that found no room vanish without a trace in the ledger."""
    program = start(build("many_stacks.c"), "2", "8500")
    task = Task("full", "ON_CPU", settings={"period": "100us", "unwind": "fp"})
    profiler.start(task, [process_of(program)])
    go(program)
    program.wait(timeout=120)  # nobody empties the maps meanwhile
    profile = profiler.stop("full")
    assert profile is not None
    completeness = profile.completeness
    assert completeness.expected == completeness.kept + sum(completeness.lost.values())
    assert completeness.expected > 70_000, "the program made too few samples to fill a map"
    assert completeness.lost.get(Loss.MAP_FULL, 0) + completeness.degraded.get(Loss.MAP_FULL, 0) > 0


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("names.cpp", "demo::Solver<int>::iterate(int)"),
        ("names.rs", "names::solver::iterate"),
        ("names.go", "main.iterate"),
    ],
)
def test_names_are_those_of_the_source(profiler, build, start, source: str, name: str) -> None:  # type: ignore[no-untyped-def]
    """Wrong: C++ and Rust names appear mangled, or Go's are taken for mangled ones."""
    program = start(build(source), "20")
    profiler.start(Task("names", "ON_CPU"), [process_of(program)])
    time.sleep(1)
    profile = profiler.stop("names")
    assert profile is not None
    counts = own_time(profile.samples)
    assert counts[name] > 0.8 * sum(counts.values()), counts


def test_rust_v0_names(profiler, build, start) -> None:  # type: ignore[no-untyped-def]
    """Wrong: Rust's newer mangling is not understood."""
    program = start(build("names.rs", "-Csymbol-mangling-version=v0"), "20")
    profiler.start(Task("names", "ON_CPU"), [process_of(program)])
    time.sleep(1)
    profile = profiler.stop("names")
    assert profile is not None
    assert own_time(profile.samples)["names::solver::iterate"] > 0


def test_a_process_that_is_not_watched_is_not_sampled(profiler, build, start) -> None:  # type: ignore[no-untyped-def]
    """Wrong: the filter by process leaks."""
    spin = build("spin.c")
    watched, other = start(spin, "60000"), start(spin, "60000")
    profiler.start(Task("one", "ON_CPU"), [process_of(watched)])
    time.sleep(1)
    profile = profiler.stop("one")
    assert profile is not None
    assert {sample.process.pid for sample in profile.samples} == {watched.pid}
    assert other.poll() is None


def test_tasks_share_one_sampler_and_get_their_own_samples(profiler, build, start) -> None:  # type: ignore[no-untyped-def]
    """Wrong: thirty tasks for thirty processes cost thirty programs, or see each other's samples."""
    spin = build("spin.c")
    programs = [start(spin, "60000") for _ in range(2)]
    started_ns = []
    for program in programs:
        profiler.start(Task(str(program.pid), "ON_CPU"), [process_of(program)])
        started_ns.append(time.monotonic_ns())
    profiler.start(Task("both", "ON_CPU"), [process_of(program) for program in programs])
    later_ns = time.monotonic_ns() - started_ns[0]
    time.sleep(1)
    by_task = {profile.task_id: profile for profile in profiler.drain()}
    for program in programs:
        assert {sample.process.pid for sample in by_task[str(program.pid)].samples} == {program.pid}
    total = sum(by_task[str(program.pid)].completeness.kept for program in programs)
    assert by_task["both"].completeness.kept == pytest.approx(total, abs=6 + 2 * later_ns / PERIOD_NS)


def test_short_lived_processes_keep_name_and_symbols(profiler, build, start) -> None:  # type: ignore[no-untyped-def]
    """Wrong: what has exited before the flush shows as a bare number, or not at all."""
    spin = build("spin.c")
    profiler.start(Task("short", "ON_CPU"), None)
    for _ in range(3):
        program = start(spin, "1500")
        while program.poll() is None:
            time.sleep(0.1)
            profiler.tick()  # the agent's five ticks a second
    profile = profiler.stop("short")
    assert profile is not None
    samples = [sample for sample in profile.samples if sample.name == Path(spin).name]
    assert len({sample.process for sample in samples}) == 3
    assert own_time(tuple(samples))["burn_a_while"] > 50


def test_counts_of_a_process_gone_before_anyone_looked_keep_its_name(profiler, build, start) -> None:  # type: ignore[no-untyped-def]
    """Wrong: samples of very short processes are dropped because nothing is left of them in /proc."""
    spin = build("spin.c")
    profiler.start(Task("gone", "ON_CPU"), None)
    start(spin, "100").wait(timeout=10)
    profile = profiler.stop("gone")
    assert profile is not None
    samples = [sample for sample in profile.samples if sample.name == Path(spin).name]
    assert sum(sample.values[0] for sample in samples) >= 5
    assert profile.completeness.degraded.get(Loss.PROCESS_GONE, 0) >= 5
