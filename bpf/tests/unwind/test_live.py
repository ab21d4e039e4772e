"""Live programs stopped at random moments, their stacks unwound here and by elfutils."""

import os
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import stops

from rover_bpf.unwind import Stop, Unwinder, Unwound

PROGRAMS = Path(__file__).parent / "programs"
STOPS = 200
COMPARED = 8
SHAPES = ("recursion", "callbacks", "alloca", "tail", "noreturn", "leaves", "realigned", "threads", "signal")
LINKED = {"pie": ("-pie", "-fPIE"), "no-pie": ("-no-pie",), "static": ("-static",), "static-pie": ("-static-pie",)}

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="tracing children may need root")


def pause() -> None:
    time.sleep(random.random() * 0.002)


def unwound(unwinder: Unwinder, pid: int, tid: int) -> Unwound:
    sample = stops.sample(tid)
    return unwinder.unwind(stops.process_key(pid), sample.state, sample.stack)


def outcomes(unwinder: Unwinder, pid: int) -> Counter[Stop]:
    """Why stacks ended, at STOPS random moments of one thread after another."""
    found: Counter[Stop] = Counter()
    tids = stops.threads(pid)
    for number in range(STOPS):
        pause()
        if number % 20 == 0:
            unwinder.observe(stops.process_key(pid))
        found[unwound(unwinder, pid, tids[number % len(tids)]).stop] += 1
    return found


def differing(unwinder: Unwinder, pid: int) -> list[tuple[list[str], list[str]]]:
    """Stacks that elfutils sees otherwise: (ours, theirs)."""
    found = []
    for number in range(COMPARED):
        pause()
        with stops.held(pid):
            tids = stops.threads(pid)
            tid = tids[number % len(tids)]
            ours, theirs = unwound(unwinder, pid, tid).addresses, stops.other_unwinder(tid)
        if list(ours) != theirs[: len(ours)] or len(theirs) > len(ours):
            found.append((list(map(hex, ours)), list(map(hex, theirs))))
    return found


def check(pid: int, *, compare: bool = True) -> Unwinder:
    unwinder = Unwinder()
    unwinder.observe(stops.process_key(pid))
    assert outcomes(unwinder, pid) == {Stop.OUTERMOST: STOPS}, unwinder.stats
    if compare and shutil.which("eu-stack"):
        assert not differing(unwinder, pid)
    return unwinder


@pytest.mark.parametrize("shape", SHAPES)
def test_c_is_whole(shape: str, built: Callable[..., Path], start: Callable[..., int]) -> None:
    unwinder = check(start(built("shapes.c", *LINKED["pie"]), shape))
    assert not unwinder.stats.reasons


@pytest.mark.parametrize("linked", ["no-pie", "static", "static-pie"])
@pytest.mark.parametrize("shape", ["leaves", "signal", "threads"])
def test_c_is_whole_however_it_is_linked(
    linked: str, shape: str, built: Callable[..., Path], start: Callable[..., int]
) -> None:
    check(start(built("shapes.c", *LINKED[linked]), shape))


def test_a_library_opened_later_is_whole(built: Callable[..., Path], start: Callable[..., int]) -> None:
    check(start(built("shapes.c", *LINKED["pie"]), "library", built("library.c", "-shared", "-fPIC")))


def test_cpp_is_whole(built: Callable[..., Path], start: Callable[..., int]) -> None:
    check(start(built("shapes.cpp")))


def test_rust_is_whole(built: Callable[..., Path], start: Callable[..., int]) -> None:
    check(start(built("shapes.rs")))


def test_go_is_whole_by_its_frame_pointers(built: Callable[..., Path], start: Callable[..., int]) -> None:
    check(start(built("shapes.go")), compare=False)


@pytest.mark.parametrize("python", ["/usr/bin/python3", sys.executable])
def test_cpython_is_whole(python: str, start: Callable[..., int]) -> None:
    check(start(python, PROGRAMS / "busy.py"))


@pytest.mark.skipif(not shutil.which("node"), reason="no node here")
def test_node_is_whole(start: Callable[..., int]) -> None:
    check(start("node", PROGRAMS / "busy.js"))
