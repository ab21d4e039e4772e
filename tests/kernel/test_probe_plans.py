"""Which probe a plan comes to on this kernel, and that either gives the same numbers.

`make test-kernels` runs this on kernels that have kprobes; the probes taken go into its table.
"""

import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen

import pytest
from kernels import SHIPS_STACKS

from rover_bpf import stackcount
from rover_bpf.attach import RawTracepoint
from rover_bpf.loader import load as real_load
from rover_bpf.plans import Choice, Plan
from rover_bpf.program import Program
from rover_bpf.source import ProgramSource
from rover_bpf.stackprofiler import StackProfiler
from rover_core import procfs
from rover_core.errors import RoverError
from rover_core.model import Loss, Profile, Task
from rover_offcpu.profiler import OffCpu
from rover_offcpu.profiler import try_out as try_off_cpu
from rover_offcpu.settings import OffCpuSettings
from rover_oncpu.profiler import create as create_on_cpu
from rover_oncpu.profiler import try_out as try_on_cpu
from rover_oncpu.settings import OnCpuSettings

pytestmark = pytest.mark.kernel

KPROBES = Path("/sys/bus/event_source/devices/kprobe/type")
TRACEPOINT = Plan("off-CPU profiling", (Choice("rover_on_switch", RawTracepoint("sched_switch")),))

Build = Callable[..., Path]
Start = Callable[..., "Popen[str]"]
Record = Callable[[str, object], None]


def best_for_waits() -> str:
    """The probe that this kernel's own lists say must be taken."""
    names = {line.split()[2] for line in Path("/proc/kallsyms").read_text().splitlines()}
    clones = [name for name in sorted(names) if re.fullmatch(r"finish_task_switch(\.isra\.\d+)?", name)]
    return f"kprobe {clones[0]}" if KPROBES.exists() and clones else "raw tracepoint sched_switch"


def test_a_kernel_that_was_booted_for_its_kprobes_has_them() -> None:
    """Wrong: `make test-kernels` tests once more what every machine tests, and nobody notices."""
    if "ROVER_TEST_KPROBES" not in os.environ:
        pytest.skip("this kernel was not booted for its kprobes (ROVER_TEST_KPROBES is not set)")
    assert best_for_waits().startswith("kprobe finish_task_switch")


def test_waits_are_probed_by_the_best_that_this_kernel_has(record_property: Record) -> None:
    """Wrong: the cheaper probe is there and not taken, and nothing but the cost tells."""
    attachment = try_off_cpu(OffCpuSettings())
    record_property("off-CPU", attachment.probe.label)
    assert attachment.probe.label == best_for_waits()
    assert attachment.probe.label not in attachment.refused
    assert not attachment.refused or not KPROBES.exists()


def test_samples_are_taken_by_the_processors_clock(record_property: Record) -> None:
    """Wrong: on-CPU profiling needs something that not every kernel has."""
    attachment = try_on_cpu(OnCpuSettings())
    record_property("on-CPU", attachment.probe.label)
    assert attachment.probe.label == "perf event cpu-clock"
    assert attachment.refused == {}


@pytest.fixture
def both_ways() -> Iterator[list[StackProfiler]]:
    """A profiler by this kernel's best probe and one by the tracepoint."""
    profilers = [StackProfiler(OffCpu(OffCpuSettings(), way)) for way in (None, TRACEPOINT)]
    yield profilers
    for profiler in profilers:
        profiler.close()


def profile_each(profilers: list[StackProfiler], program: "Popen[str]") -> list[Profile]:
    """What each profiler says of the same waits of a program of tests/programs/waits.c."""
    time.sleep(0.2)  # until it waits for the line, so that this wait began before the profiles
    process = procfs.read_process(program.pid)
    assert process is not None
    for profiler in profilers:
        profiler.start(Task("waits", "OFF_CPU", settings={"min_block": 0}), [process])
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write("\n")
    program.stdin.flush()
    program.stdout.readline()
    time.sleep(0.2)  # until it waits for the next line, which neither sees the end of
    profiles = [profiler.stop("waits") for profiler in profilers]
    return [profile for profile in profiles if profile]


def by_place(profile: Profile, value: int) -> "Counter[tuple[object, ...]]":
    """Nanoseconds (0) or number (1) of the waits that ended, by state and functions."""
    sums: Counter[tuple[object, ...]] = Counter()
    for sample in profile.samples:
        if ("unfinished", "true") not in sample.labels:
            sums[*sample.labels, *(frame.symbol for frame in (*sample.kernel, *sample.user))] += sample.values[value]
    return sums


def last_place(profile: Profile) -> tuple[object, ...]:
    """State and functions of the one wait that had not ended."""
    (sample,) = [sample for sample in profile.samples if ("unfinished", "true") in sample.labels]
    return (*sample.labels, *(frame.symbol for frame in (*sample.kernel, *sample.user)))


def share_of_naps(profile: Profile) -> float:
    """Of the sleeps, those whose stack has `nap`: it calls libc, where frame pointers lose the caller."""
    naps = {place: count for place, count in by_place(profile, 1).items() if "hrtimer_nanosleep" in place}
    return sum(count for place, count in naps.items() if "nap" in place) / sum(naps.values())


@pytest.mark.skipif(not KPROBES.exists(), reason="this kernel has one way only, the tracepoint")
@pytest.mark.parametrize("mode", ["sleep", "mutex", "pipe", "pool"])
def test_both_ways_give_the_same_numbers(
    both_ways: list[StackProfiler], build: Build, start: Start, mode: str
) -> None:
    """Wrong: what a profile says depends on the kernel that it was taken on. Both watch the very same waits."""
    kprobe, tracepoint = profile_each(both_ways, start(build("waits.c"), mode))
    assert kprobe.attributes["probe"] == best_for_waits()
    assert tracepoint.attributes["probe"] == "raw tracepoint sched_switch"
    assert kprobe.completeness.lost == tracepoint.completeness.lost == {}
    assert by_place(kprobe, 1) == by_place(tracepoint, 1)
    assert by_place(kprobe, 1).total() >= 23
    assert by_place(kprobe, 0).total() == pytest.approx(by_place(tracepoint, 0).total(), rel=0.02)
    assert last_place(kprobe) == last_place(tracepoint)  # in a pipe: no function of .sched.text that would be missing
    if SHIPS_STACKS:
        assert {"main", "_start"} <= set(last_place(kprobe))
        assert share_of_naps(kprobe) > 0.95


@pytest.mark.parametrize(
    ("why", "log"),
    [
        ("its BTF has no bpf_htab.ma", ""),
        ("it was refused", "perf_event programs can only use preallocated hash map"),
    ],
)
def test_a_kernel_that_wants_its_maps_preallocated_gets_them(
    monkeypatch: pytest.MonkeyPatch, build: Build, start: Start, why: str, log: str
) -> None:
    """Wrong: kernels before 6.1, whose maps must not grow in such programs, cannot be profiled or lock up."""
    flags: list[str] = []

    def load(source: ProgramSource) -> Program:
        flags.append(source.defines["ROVER_HASH_FLAGS"])
        if flags[-1] != "0":
            error = RoverError("the eBPF program does not fit", why=why)
            error.add_note(log)
            raise error
        return real_load(source)

    monkeypatch.setattr(stackcount, "load", load)
    program = start(build("spin.c"), "60000")
    process = procfs.read_process(program.pid)
    assert process is not None
    profiler = create_on_cpu(OnCpuSettings(dump_period=1_000_000))
    profiler.start(Task("old", "ON_CPU"), [process])
    time.sleep(1)
    profile = profiler.stop("old")
    assert profile is not None
    assert flags[-1] == "0"
    assert profile.completeness.lost == {}
    assert Loss.MAP_FULL not in profile.completeness.degraded  # which counts stacks that found no room
    assert profile.completeness.kept > 100
