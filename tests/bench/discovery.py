"""Compares Rover's looking for processes with ps and, if it is installed, psutil: part of `make bench`.

On a host with 2 000 more processes than it has; in turns; what counts is the ratio of their CPU times.
"""

import argparse
import importlib
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rover_discovery_host.discoverer import HostDiscoverer

_COUNT = 2000
_PROGRAM = Path(__file__).parents[1] / "programs" / "many_processes.c"
_PS = ["ps", "-e", "-o", "pid,ppid,user,comm,args"]
_FIELDS = ["pid", "ppid", "name", "cmdline", "uids", "create_time"]
_LATENCIES = 20


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15, help="turns of each (default 15)")
    parser.add_argument("--quick", action="store_true", help="one round: does it work?")
    parser.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args(arguments)
    with _many_processes(_COUNT) as parent:
        costs = _take_turns(_contenders(), 1 if options.quick else options.rounds)
        waits_ms = _latencies_ms(2 if options.quick else _LATENCIES)
        assert sum(each.ppid == parent for each in HostDiscoverer().scan()) == _COUNT
    if options.json:
        print(json.dumps({"processes": _COUNT, "cpu_ms": costs, "known_after_ms": waits_ms}, indent=2))
    else:
        print("\n".join(_report(costs, waits_ms)))
    return 0


@contextmanager
def _many_processes(count: int) -> Iterator[int]:
    with tempfile.TemporaryDirectory(prefix="rover-bench-") as folder:
        program = Path(folder, "many_processes")
        subprocess.run(["gcc", "-O1", "-o", program, _PROGRAM], check=True)
        parent = subprocess.Popen([program, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert parent.stdout is not None
            parent.stdout.readline()
            time.sleep(1)  # for the last of them to become what they are
            yield parent.pid
        finally:
            parent.kill()
            parent.communicate()


def _contenders() -> dict[str, Callable[[], object]]:
    polling, told = HostDiscoverer(), HostDiscoverer()
    assert told.fileno() is not None, "this kernel does not announce processes"
    polling.scan()
    told.scan()
    contenders: dict[str, Callable[[], object]] = {
        "ps -e": lambda: subprocess.run(_PS, stdout=subprocess.DEVNULL, check=True),
        "Rover, the first look": lambda: HostDiscoverer().scan(),
        "Rover, reading all of /proc": polling.scan,
        "Rover, one new process announced": lambda: (subprocess.run(["/bin/true"], check=False), told.scan()),
    }
    try:
        psutil = importlib.import_module("psutil")
    except ImportError:
        return contenders
    return {"psutil.process_iter": lambda: [each.info for each in psutil.process_iter(_FIELDS)], **contenders}


def _take_turns(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU milliseconds of each turn, children's included, after one that warms up."""
    costs: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, work in contenders.items():
            before_ms = _cpu_ms(children=name == "ps -e")
            work()
            if number:
                costs[name].append(_cpu_ms(children=name == "ps -e") - before_ms)
    return costs


def _cpu_ms(*, children: bool) -> float:
    times = os.times()
    return time.process_time() * 1000 + (1000 * (times.children_user + times.children_system) if children else 0)


def _latencies_ms(count: int) -> list[float]:
    """From the start of a program until an agent's registry knows it as that program, on an idle host."""
    import asyncio

    from rover_core.processes import ProcessRegistry

    async def measure() -> list[float]:
        registry = ProcessRegistry([HostDiscoverer()])
        scanning = asyncio.create_task(registry.keep_scanning(3_000_000_000))
        waits_ms = []
        for _ in range(count):
            await asyncio.sleep(0.5)
            begun_s = time.monotonic()
            program = await asyncio.create_subprocess_exec("sleep", "60")
            while (found := registry.find(program.pid)) is None or found.name != "sleep":
                await asyncio.sleep(0.001)
            waits_ms.append((time.monotonic() - begun_s) * 1000)
            program.kill()
            await program.wait()
        scanning.cancel()
        await asyncio.wait([scanning])
        return waits_ms

    return asyncio.run(measure())


def _report(costs: dict[str, list[float]], waits_ms: Sequence[float]) -> list[str]:
    theirs = costs["ps -e"]
    lines = [f"{time.strftime('%Y-%m-%d')}; {_COUNT} processes; CPU time, medians", ""]
    lines += ["| | ms | ps / this |", "|---|---:|---:|"]
    for name, turns in costs.items():
        ratio = statistics.median(a / b for a, b in zip(theirs, turns, strict=True) if b)
        lines.append(f"| {name} | {statistics.median(turns):.2f} | {ratio:.1f} |")
    longest, usual = max(waits_ms), statistics.median(waits_ms)
    return [*lines, "", f"A new process is known after {usual:.0f} ms (median), {longest:.0f} ms (longest)."]


if __name__ == "__main__":
    raise SystemExit(main())
