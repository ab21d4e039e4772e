"""Registers and stacks as eBPF programs ship them, on and off CPU, unwound."""

import itertools
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import stops

from rover_bpf.attach import CpuClock, Probe, RawTracepoint
from rover_bpf.loader import ProgramSource, load
from rover_bpf.maps import BpfMap
from rover_bpf.plans import Choice, Plan, attach
from rover_bpf.program import Program
from rover_bpf.ring import Ring
from rover_bpf.stackcount import _GROWING, _MEMBERS, STACK
from rover_bpf.unwind import Stop, Unwinder
from rover_bpf.unwind.kernelrules import KernelRules
from rover_bpf.unwind.raw import RawStack, read_raw

PROGRAMS = Path(__file__).parent / "programs"
FUNCTIONS = {"on_tick": "PERF_EVENT", "on_switch": "RAW_TRACEPOINT"}

pytestmark = pytest.mark.kernel


@contextmanager
def shipping(pid: int, function: str, probe: Probe) -> Iterator[Program]:
    with load(
        ProgramSource(PROGRAMS / "ship.bpf.c", FUNCTIONS, _MEMBERS, {**_GROWING, "ROVER_RAW_PAGES": "1024"})
    ) as program:
        assert function in program.functions, program.errors
        targets = BpfMap(program.maps["rover_targets"], "<u4", "<u4")
        targets.update(np.uint32(pid), np.uint32(1))
        attachment = attach(Plan("shipping stacks", (Choice(function, probe),)), program)
        yield program
        attachment.detach()


def drained(program: Program, seconds: float) -> Iterator[RawStack]:
    ring = Ring(program.maps["rover_raw"])
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            time.sleep(0.02)
            yield from map(read_raw, ring.drain())
    finally:
        ring.close()


def shipped(pid: int, function: str, probe: Probe, seconds: float) -> list[RawStack]:
    with shipping(pid, function, probe) as program:
        return [*drained(program, seconds)]


def outcomes(pid: int, stacks: list[RawStack]) -> Counter[Stop]:
    unwinder, key = Unwinder(), stops.process_key(pid)
    unwinder.observe(key)
    return Counter(unwinder.unwind(key, raw.state, raw.stack).stop for raw in stacks)


@pytest.fixture
def busy(built: Callable[..., Path], start: Callable[..., int], program: str) -> int:
    """The pid of a program at work."""
    if program == "node" and not shutil.which("node"):
        pytest.skip("no node here")
    commands = {"python": ("/usr/bin/python3", PROGRAMS / "busy.py"), "node": ("node", PROGRAMS / "busy.js")}
    pid = start(*commands[program]) if program in commands else start(built("shapes.c"), program)
    time.sleep(0.2)
    return pid


@pytest.mark.parametrize("program", ["recursion", "leaves", "vdso", "python", "node"])
def test_ticks(program: str, busy: int) -> None:
    stacks = shipped(busy, "on_tick", CpuClock(1_000_000), 0.5)
    assert len(stacks) > 20
    assert {raw.tgid for raw in stacks} == {busy}
    whole = outcomes(busy, stacks)[Stop.OUTERMOST]
    # 2 of 8 000 of Node's stacks end early; probably in compiled code, where there is the frame pointer alone.
    assert whole == len(stacks) or (program == "node" and whole > 0.99 * len(stacks))


def test_switches(start: Callable[..., int]) -> None:
    """Where a thread waits in the kernel, its user registers are at the bottom of its kernel stack."""
    sleeper = "import time\nprint('ready', flush=True)\nwhile True: time.sleep(0.002)"
    pid = start("/usr/bin/python3", "-c", sleeper)
    stacks = shipped(pid, "on_switch", RawTracepoint("sched_switch"), 0.5)
    assert len(stacks) > 50
    assert outcomes(pid, stacks) == {Stop.OUTERMOST: len(stacks)}


@pytest.mark.parametrize("program", ["recursion", "alloca", "signal", "python", "node"])
def test_the_kernel_walks_as_user_space_does(program: str, busy: int) -> None:
    """Broken: stacks that the kernel walks by taught rules are others than the call frame information says."""
    unwinder, key = Unwinder(), stops.process_key(busy)
    unwinder.observe(key)
    unwound: dict[int, list[tuple[int, ...]]] = {}
    with shipping(busy, "on_tick", CpuClock(1_000_000)) as running:
        rules = KernelRules(running.maps)
        for raw in itertools.islice(drained(running, 10), 600):
            addresses = unwinder.unwind(key, raw.state, raw.stack).addresses
            unwound.setdefault(raw.unknown, []).append(addresses)
            rules.use_rules(raw.tgid, raw.code, space=1)
            rules.add(
                1, unwinder.rules(key, (raw.state.ip, *(address - 1 for address in addresses[1:]), raw.unknown))
            )
            rules.flush()
        hashes, stacks = BpfMap(running.maps["rover_stacks_0"], "<u8", STACK).read()
    walked = {h: tuple(s["ip"][: s["depth"]].tolist()) for h, s in zip(hashes.tolist(), stacks, strict=True)}
    compared = [(walked[key], addresses) for key in walked for addresses in unwound.get(key, [])]
    assert len(compared) > 10
    # Of a stack deeper than what is shipped, the walk in the kernel may see more.
    assert all(there[: len(here)] == here for there, here in compared)
    assert sum(there == here for there, here in compared) > 0.9 * len(compared)
