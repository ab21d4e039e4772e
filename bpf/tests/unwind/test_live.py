"""Live programs stopped at random moments, their stacks unwound here and by elfutils."""

import os
import random
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import stops

from rover_bpf.symbols import Symbolizer
from rover_bpf.unwind import Stop, Unwinder, Unwound

PROGRAMS = Path(__file__).parent / "programs"
STOPS = 200
COMPARED = 8
SHAPES = ("recursion", "callbacks", "alloca", "tail", "noreturn", "leaves", "realigned", "threads", "signal", "vdso")
LINKED = {"pie": ("-pie", "-fPIE"), "no-pie": ("-no-pie",), "static": ("-static",), "static-pie": ("-static-pie",)}

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="tracing children may need root")


def pause() -> None:
    time.sleep(random.random() * 0.002)


def unwound(unwinder: Unwinder, pid: int, tid: int) -> Unwound:
    sample = stops.sample(tid)
    return unwinder.unwind(stops.process_key(pid), sample.state, sample.stack)


def not_whole(unwinder: Unwinder, pid: int) -> list[tuple[Stop, list[str]]]:
    """What came out otherwise, at STOPS random moments of one thread after another."""
    found = []
    tids, key, symbolizer = stops.threads(pid), stops.process_key(pid), Symbolizer()
    for number in range(STOPS):
        pause()
        if number % 20 == 0:
            unwinder.observe(key)
        stack = unwound(unwinder, pid, tids[number % len(tids)])
        if not stack.whole:
            symbolizer.observe(key)
            found.append((stack.stop, [frame.label for frame in symbolizer.user(key, stack.addresses)]))
    return found


def by_exception(stack: tuple[Stop, list[str]]) -> bool:
    """While _Unwind_RaiseException overwrites its own frame with the handler's, no table says where its caller is."""
    return any(name.startswith("_Unwind_R") for name in stack[1])


def differing(unwinder: Unwinder, pid: int) -> list[tuple[list[str], list[str]]]:
    """Stacks that elfutils sees otherwise: (ours, theirs). Where it has nothing to go by it gives up at the leaf."""
    found = []
    for number in range(COMPARED):
        pause()
        with stops.held(pid):
            tids = stops.threads(pid)
            tid = tids[number % len(tids)]
            ours, theirs = list(unwound(unwinder, pid, tid).addresses), stops.other_unwinder(tid)
        if theirs not in (ours, ours[:1]):
            found.append((list(map(hex, ours)), list(map(hex, theirs))))
    return found


def check(pid: int) -> Unwinder:
    unwinder = Unwinder()
    unwinder.observe(stops.process_key(pid))
    assert not not_whole(unwinder, pid)
    if shutil.which("eu-stack"):
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


def test_a_handler_on_a_stack_of_its_own_shows_what_it_interrupted(
    built: Callable[..., Path], start: Callable[..., int]
) -> None:
    """The other stack is not in the copy: what was interrupted is the last frame."""
    pid = start(built("shapes.c", *LINKED["pie"]), "signal-alternate")
    unwinder, symbolizer, key = Unwinder(), Symbolizer(), stops.process_key(pid)
    unwinder.observe(key)
    symbolizer.observe(key)
    cut = 0
    for _ in range(STOPS):
        pause()
        found = unwound(unwinder, pid, pid)
        names = [frame.symbol for frame in symbolizer.user(key, found.addresses)]
        if "handler" in names[:-1]:
            assert (found.stop, names[-3]) == (Stop.STACK_CUT, "handler")
            cut += 1
        elif found.stop is not Stop.OUTERMOST:
            assert (found.stop, len(names)) == (Stop.STACK_CUT, 2), "it has returned, and the signal's end is at work"
    assert 0 < cut < STOPS


@pytest.mark.parametrize("source", ["shapes.cpp", "shapes.rs"])
def test_cpp_and_rust_are_whole_but_where_an_exception_changes_stacks(
    source: str, built: Callable[..., Path], start: Callable[..., int]
) -> None:
    pid, unwinder = start(built(source)), Unwinder()
    unwinder.observe(stops.process_key(pid))
    left = not_whole(unwinder, pid)
    assert all(map(by_exception, left)), left
    assert len(left) < STOPS / 20


def test_go_is_whole_up_to_a_change_of_stacks_by_its_own_table(
    built: Callable[..., Path], start: Callable[..., int]
) -> None:
    """Its collector works on another stack than the goroutine that called it: that one is not in the copy."""
    pid = start(built("shapes.go"))
    unwinder, symbolizer, key = Unwinder(), Symbolizer(), stops.process_key(pid)
    unwinder.observe(key)
    symbolizer.observe(key)
    assert not unwinder.needs_tables(key)
    callers = 0
    for number in range(STOPS):
        pause()
        tids = stops.threads(pid)
        sample = stops.sample(tids[number % len(tids)])
        found = unwinder.unwind(key, sample.state, sample.stack)
        names = [frame.symbol or "" for frame in symbolizer.user(key, found.addresses)]
        assert found.whole or names[-1].startswith("runtime."), names
        # Of functions without a frame, the frame pointer does not show who called them.
        if names[:2] == ["runtime.futex.abi0", "runtime.futexsleep"]:
            followed = unwinder.by_frame_pointers(key, sample.state, sample.stack)
            assert followed[:2] == (found.addresses[0], found.addresses[2])
            callers += 1
    assert callers > 5


@pytest.mark.parametrize("python", ["/usr/bin/python3", sys.executable])
def test_cpython_is_whole(python: str, start: Callable[..., int]) -> None:
    check(start(python, PROGRAMS / "busy.py"))


@pytest.mark.skipif(not shutil.which("node"), reason="no node here")
def test_node_is_whole(start: Callable[..., int]) -> None:
    """But for the rare stack in compiled code, where there is the frame pointer alone."""
    pid, unwinder = start("node", PROGRAMS / "busy.js"), Unwinder()
    unwinder.observe(stops.process_key(pid))
    assert len(not_whole(unwinder, pid)) <= 1
    if shutil.which("eu-stack"):
        assert len(differing(unwinder, pid)) <= 1


def test_an_exited_process_is_unwound_as_long_as_it_is_known(
    built: Callable[..., Path], start: Callable[..., int], tmp_path: Path
) -> None:
    program = tmp_path / "gone"
    shutil.copy(built("shapes.c", "-static"), program)
    pid = start(program, "recursion")
    program.unlink()
    key, unwinder = stops.process_key(pid), Unwinder()
    unwinder.observe(key)
    sample = stops.sample(pid)
    os.kill(pid, 9)
    time.sleep(0.05)
    unwinder.observe(key)
    assert unwinder.unwind(key, sample.state, sample.stack).whole
    unwinder.forget(key)
    assert unwinder.unwind(key, sample.state, sample.stack) == Unwound((sample.state.ip,), Stop.NOT_OBSERVED)
    assert unwinder.stats.rules == 0


def test_a_short_copy_gives_the_frames_in_it(built: Callable[..., Path], start: Callable[..., int]) -> None:
    pid = start(built("shapes.c", *LINKED["pie"]), "recursion")
    key, unwinder = stops.process_key(pid), Unwinder()
    unwinder.observe(key)
    sample = stops.sample(pid)
    whole = unwinder.unwind(key, sample.state, sample.stack)
    for size in (*range(0, 600, 4), 1024):
        part = unwinder.unwind(key, sample.state, sample.stack[:size])
        assert part.addresses == whole.addresses[: len(part.addresses)]
        assert part == whole or part.stop is Stop.STACK_CUT
    few = unwinder.unwind(key, sample.state, sample.stack, max_frames=3)
    assert few == Unwound(whole.addresses[:3], Stop.TOO_DEEP)
