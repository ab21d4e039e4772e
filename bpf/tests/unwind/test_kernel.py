"""Registers and stacks as eBPF programs ship them, on and off CPU, unwound."""

import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import stops

from rover_bpf.attach import CpuClock, Probe, RawTracepoint
from rover_bpf.loader import ProgramSource, load
from rover_bpf.maps import BpfMap
from rover_bpf.plans import Choice, Plan, attach
from rover_bpf.ring import Ring
from rover_bpf.stackcount import _GROWING, _MEMBERS
from rover_bpf.unwind import Stop, Unwinder
from rover_bpf.unwind.raw import RawStack, read_raw

PROGRAMS = Path(__file__).parent / "programs"
FUNCTIONS = {"on_tick": "PERF_EVENT", "on_switch": "RAW_TRACEPOINT"}

pytestmark = pytest.mark.kernel


def shipped(pid: int, function: str, probe: Probe, seconds: float) -> list[RawStack]:
    found: list[RawStack] = []
    with load(
        ProgramSource(PROGRAMS / "ship.bpf.c", FUNCTIONS, _MEMBERS, {**_GROWING, "ROVER_RAW_PAGES": "1024"})
    ) as program:
        assert function in program.functions, program.errors
        targets = BpfMap(program.maps["rover_targets"], "<u4", "<u4")
        targets.update(np.uint32(pid), np.uint32(1))
        ring = Ring(program.maps["rover_raw"])
        attachment = attach(Plan("shipping stacks", (Choice(function, probe),)), program)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.02)
            found += map(read_raw, ring.drain())
        attachment.detach()
        ring.close()
    return found


def outcomes(pid: int, stacks: list[RawStack]) -> Counter[Stop]:
    unwinder, key = Unwinder(), stops.process_key(pid)
    unwinder.observe(key)
    return Counter(unwinder.unwind(key, raw.state, raw.stack).stop for raw in stacks)


@pytest.mark.parametrize("program", ["recursion", "leaves", "vdso", "python", "node"])
def test_ticks(program: str, built: Callable[..., Path], start: Callable[..., int]) -> None:
    if program == "node" and not shutil.which("node"):
        pytest.skip("no node here")
    commands = {"python": ("/usr/bin/python3", PROGRAMS / "busy.py"), "node": ("node", PROGRAMS / "busy.js")}
    pid = start(*commands[program]) if program in commands else start(built("shapes.c"), program)
    time.sleep(0.2)
    stacks = shipped(pid, "on_tick", CpuClock(1_000_000), 0.5)
    assert len(stacks) > 20
    assert {raw.tgid for raw in stacks} == {pid}
    whole = outcomes(pid, stacks)[Stop.OUTERMOST]
    # 2 of 8 000 of Node's stacks end early; probably in compiled code, where there is the frame pointer alone.
    assert whole == len(stacks) or (program == "node" and whole > 0.99 * len(stacks))


def test_switches(start: Callable[..., int]) -> None:
    """Where a thread waits in the kernel, its user registers are at the bottom of its kernel stack."""
    sleeper = "import time\nprint('ready', flush=True)\nwhile True: time.sleep(0.002)"
    pid = start("/usr/bin/python3", "-c", sleeper)
    stacks = shipped(pid, "on_switch", RawTracepoint("sched_switch"), 0.5)
    assert len(stacks) > 50
    assert outcomes(pid, stacks) == {Stop.OUTERMOST: len(stacks)}
