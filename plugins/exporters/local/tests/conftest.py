"""Profiles to write, store and draw."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from rover_core.model import Completeness, Frame, Loss, ProcessKey, Profile, SampleType, StackSample

NOW_NS = 1_900_000_000_000_000_000
HOSTILE = "</script><img src=x onerror=alert(1)>"

MAIN = Frame("main", "shop", 16)
PARSE = Frame("parse;line\nfeed", "shop", 8)
READ = Frame("read", "libc.so.6", 4)
LOST = Frame(None, "libssl.so.3", 0x1F0)
NOWHERE = Frame(None, "", 0xFFFF_FFFF_FFFF_F000)
VFS = Frame("vfs_read", "[kernel]", 2, kernel=True)
ENTRY = Frame("entry_SYSCALL_64", "[kernel]", 0x76, kernel=True)
EVIL = Frame(HOSTILE, "évil\udcff.so", 1)


def sample(pid: int, name: str, user: tuple[Frame, ...], kernel: tuple[Frame, ...], count: int) -> StackSample:
    return StackSample(ProcessKey(pid, pid * 7), name, user, kernel, (count, count * 10_000_000))


SAMPLES = (
    sample(10, "shop", (PARSE, MAIN), (), 5),
    sample(10, "shop", (READ, MAIN), (VFS, ENTRY), 3),
    sample(11, "shop", (READ, MAIN), (VFS, ENTRY), 2),
    sample(12, "nginx", (LOST, NOWHERE), (), 4),
    sample(13, "evil", (EVIL,), (), 1),
    sample(14, "kworker/0:1", (), (ENTRY,), 1),
)


@pytest.fixture
def profile() -> Profile:
    """16 samples of five processes: user, kernel, unresolved and hostile frames; one more was lost."""
    return Profile(
        task_id="task-1",
        profiler="ON_CPU",
        start_ns=NOW_NS,
        end_ns=NOW_NS + 15_000_000_000,
        sample_types=(SampleType("samples", "count"), SampleType("cpu", "nanoseconds")),
        samples=SAMPLES,
        completeness=Completeness(17, 16, {Loss.MAP_FULL: 1}, {Loss.UNSYMBOLIZED: 4}),
        period_ns=10_000_000,
        attributes={"probe": "cpu-clock", "host": "web-1"},
    )


@pytest.fixture
def empty(profile: Profile) -> Profile:
    """A task that saw nothing."""
    return Profile("none", "ON_CPU", NOW_NS, NOW_NS + 1, profile.sample_types, (), Completeness())


@pytest.fixture
def waiting(profile: Profile) -> Profile:
    """Waits by (delay, contentions), one stack in three ways: simply, preempted, and not over yet."""
    labels = ((("state", "interruptible"),), (("state", "preempted"),), (("state", "other"), ("unfinished", "true")))
    stack = StackSample(ProcessKey(10, 70), "shop", (READ, MAIN), (VFS, ENTRY), ())
    samples = tuple(replace(stack, values=(n * 1_500_000, n), labels=each) for n, each in enumerate(labels, start=1))
    words = {
        "mark:state=preempted": "preempted",
        "mark:unfinished=true": "still waiting",
        "text:nothing": "No waits.",
    }
    types = (SampleType("delay", "nanoseconds"), SampleType("contentions", "count"))
    made = replace(profile, profiler="OFF_CPU", task_id="task-2", sample_types=types, samples=samples, period_ns=0)
    return replace(made, completeness=Completeness(6, 6), attributes={**profile.attributes, **words})


@pytest.fixture
def scattered() -> Callable[[int], Profile]:
    """A profile of as many distinct stacks as asked for, up to 40 frames deep."""

    def make(count: int) -> Profile:
        dice = random.Random(count)
        frames = [Frame(f"library::Class{n % 90}::method{n}", f"lib{n % 30}.so", n) for n in range(4000)]
        stacks = [tuple(dice.choices(frames, k=dice.randint(5, 40))) for _ in range(count)]
        samples = tuple(sample(n % 50, f"service{n % 9}", s, (), 1 + n % 7) for n, s in enumerate(stacks))
        total = sum(each.values[0] for each in samples)
        types = (SampleType("samples", "count"), SampleType("cpu", "nanoseconds"))
        return Profile("big", "ON_CPU", NOW_NS, NOW_NS + 1, types, samples, Completeness(total, total), 10_000_000)

    return make
