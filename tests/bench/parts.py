"""Compares Rover's way of reading rings and maps and of naming addresses with BCC's: part of `make bench`.

Both do the same work in the same process on the same data, in turns; what counts is the ratio of their CPU times.
"""

import argparse
import json
import mmap
import os
import random
import statistics
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from contenders import KERNEL_HEADERS, versions

from rover_bpf.loader import MapInfo
from rover_bpf.maps import BpfMap
from rover_bpf.ring import Ring
from rover_bpf.symbols import Symbolizer
from rover_core.procfs import process_key

os.environ["BCC_KERNEL_SOURCE"] = str(KERNEL_HEADERS)  # read when a program is compiled
from bcc import BPF

_EVENTS, _ENTRIES, _ADDRESSES = 50_000, 10_000, 5_000
_EVENT = struct.Struct("6Q")
_HASH, _RINGBUF = 1, 27  # enum bpf_map_type
_PLACE = [("left", "u8"), ("right", "u8")]


@dataclass(frozen=True, slots=True)
class Comparison:
    """theirs, ours: do `count` things once each and are called in turns, after `prepare`."""

    name: str
    unit: str
    count: int
    theirs: Callable[[], object]
    ours: Callable[[], object]
    prepare: Callable[[], object] = lambda: None


class Turn(NamedTuple):
    """CPU microseconds for one `unit`."""

    unit: str
    theirs_us: float
    ours_us: float


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, help="turns of each (default 9)")
    parser.add_argument("--quick", action="store_true", help="one round: does it work?")
    parser.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args(arguments)
    results = {each.name: _take_turns(each, 1 if options.quick else options.rounds) for each in _comparisons()}
    if options.json:
        print(
            json.dumps(
                {
                    **versions(),
                    "cpu_us": {name: [turn._asdict() for turn in turns] for name, turns in results.items()},
                },
                indent=2,
            )
        )
    else:
        print("\n".join(_report(results)))
    return 0


def _comparisons() -> Iterator[Comparison]:
    text = Path(__file__).with_name("parts.bpf.c").read_text()
    program = BPF(text=text, cflags=[f"-DROVER_BENCH_PID={os.getpid()}", f"-I{KERNEL_HEADERS / 'include'}"])
    program.attach_raw_tracepoint(tp="sys_enter", fn_name="on_syscall")
    yield _ring(program)
    program.detach_raw_tracepoint(tp="sys_enter")
    yield from _maps(program)
    yield from _symbols()


def _ring(program: BPF) -> Comparison:
    theirs, ours = program["for_bcc"], program["for_rover"]
    ring = Ring(MapInfo(ours.map_fd, _RINGBUF, 0, 0, 1024 * mmap.PAGESIZE))
    seen = [0]

    def callback(_: object, data: int, __: int) -> None:
        seen[0] += theirs.event(data).fields[1]

    def drain() -> None:
        for record in ring.drain():
            seen[0] += _EVENT.unpack_from(record)[1]

    def consume() -> None:
        program.ring_buffer_consume()

    def produce() -> None:
        assert seen[0] in (0, 2 * _EVENTS), f"{seen[0]} events were read of twice {_EVENTS}"
        seen[0] = 0
        for _ in range(_EVENTS):
            os.getppid()

    theirs.open_ring_buffer(callback)
    return Comparison("ring buffer, against a callback each", "event", _EVENTS, consume, drain, produce)


def _maps(program: BPF) -> Iterator[Comparison]:
    table = program["counts"]
    ours = BpfMap(MapInfo(table.map_fd, _HASH, 16, 8, 16384), _PLACE, "u8")
    for number in range(_ENTRIES):
        ours.update((number, number), number)
    assert len(ours.read()[0]) == len(table.items()) == _ENTRIES
    yield Comparison("hash map, against items()", "entry", _ENTRIES, lambda: list(table.items()), ours.read)
    batch = "hash map, against items_lookup_batch()"
    yield Comparison(batch, "entry", _ENTRIES, lambda: list(table.items_lookup_batch()), ours.read)


def _symbols() -> Iterator[Comparison]:
    pid = os.getpid()
    key = process_key(pid)
    assert key is not None
    user, kernel = _user_addresses(), _kernel_addresses()
    names = Symbolizer()

    def ours_first() -> None:
        fresh = Symbolizer()
        fresh.observe(key)
        fresh.user(key, user)

    def ours() -> None:
        names.observe(key)
        names.user(key, user)

    def theirs() -> None:
        for address in user:
            BPF.sym(address, pid, show_module=True)

    def theirs_first() -> None:
        BPF._sym_caches.clear()
        theirs()

    def theirs_kernel() -> None:
        for address in kernel:
            BPF.ksym(address)

    yield Comparison("user symbols, tables loaded anew", "address", len(user), theirs_first, ours_first)
    yield Comparison("user symbols, the same again", "address", len(user), theirs, ours)
    yield Comparison(
        "kernel symbols, the same again", "address", len(kernel), theirs_kernel, lambda: names.kernel(kernel)
    )


def _user_addresses() -> list[int]:
    """Of this process's own code, in files."""
    dice, spans = random.Random(1), []
    for line in Path("/proc/self/maps").read_text().splitlines():
        fields = line.split()
        if "x" in fields[1] and fields[-1].startswith("/"):
            start, end = (int(part, 16) for part in fields[0].split("-"))
            spans.append(range(start, end))
    return [dice.choice(dice.choice(spans)) for _ in range(_ADDRESSES)]


def _kernel_addresses() -> list[int]:
    lines = [line.split() for line in Path("/proc/kallsyms").read_text().splitlines()]
    functions = [int(fields[0], 16) for fields in lines if fields[1] in "tT"]
    return random.Random(1).choices(functions, k=_ADDRESSES)


def _take_turns(comparison: Comparison, rounds: int) -> list[Turn]:
    """One by round, after a round that warms up."""
    turns = []
    for number in range(rounds + 1):
        comparison.prepare()
        theirs_us, ours_us = (_cpu_us(work) / comparison.count for work in (comparison.theirs, comparison.ours))
        if number:
            turns.append(Turn(comparison.unit, theirs_us, ours_us))
    return turns


def _cpu_us(work: Callable[[], object]) -> float:
    start_ns = time.process_time_ns()
    work()
    return (time.process_time_ns() - start_ns) / 1000


def _report(results: dict[str, list[Turn]]) -> list[str]:
    facts = ", ".join(f"{name} {value}" for name, value in versions().items())
    lines = [f"{time.strftime('%Y-%m-%d')}; {facts}; CPU time, medians", ""]
    lines += ["| | BCC, µs | Rover, µs | BCC / Rover |", "|---|---:|---:|---:|"]
    for name, turns in results.items():
        theirs, ours = (statistics.median(times) for times in zip(*(turn[1:] for turn in turns), strict=True))
        ratio = statistics.median(turn.theirs_us / turn.ours_us for turn in turns)
        lines.append(f"| {name}, per {turns[0].unit} | {theirs:.2f} | {ours:.2f} | {ratio:.1f} |")
    return lines


if __name__ == "__main__":
    raise SystemExit(main())
