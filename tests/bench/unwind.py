"""What unwinding by tables costs: microseconds a stack, milliseconds and memory for the tables of a process.

Per stack that the kernel ships, which is one with a place it has not met before. Needs root and gcc; CPython and Node
are measured where they are.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HELPERS = Path(__file__).parents[2] / "bpf/tests/unwind"
sys.path.append(str(HELPERS))

import stops  # noqa: E402

from rover_bpf.unwind import Unwinder  # noqa: E402
from rover_core.model import ProcessKey  # noqa: E402

Samples = list[stops.Sample]


def commands(directory: Path) -> Iterator[tuple[str, list[str]]]:
    programs = HELPERS / "programs"
    built = directory / "shapes"
    options = ["-O2", "-fomit-frame-pointer", "-w", str(programs / "shapes.c"), "-o", str(built), "-lm"]
    subprocess.run(["gcc", *options], check=True)
    yield "C, no frame pointers", [str(built), "recursion"]
    yield "CPython", ["/usr/bin/python3", str(programs / "busy.py")]
    if shutil.which("node"):
        yield "Node", ["node", str(programs / "busy.js")]


def resident_kb() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def collect(pid: int, count: int) -> Samples:
    found = []
    for _ in range(count):
        time.sleep(0.002)
        found.append(stops.sample(pid))
    return found


def unwind_all(unwinder: Unwinder, key: ProcessKey, samples: Samples) -> tuple[float, int]:
    """Microseconds a stack, and how many frames there were."""
    before = time.perf_counter()
    frames = sum(len(unwinder.unwind(key, sample.state, sample.stack).addresses) for sample in samples)
    return (time.perf_counter() - before) / len(samples) * 1e6, frames


def measure(name: str, pid: int, count: int) -> None:
    samples, key = collect(pid, count), stops.process_key(pid)
    before = resident_kb()
    unwinder = Unwinder()
    began = time.perf_counter()
    unwinder.observe(key)
    unwinder.unwind(key, samples[0].state, samples[0].stack)
    load_ms = (time.perf_counter() - began) * 1e3
    cold, frames = unwind_all(unwinder, key, samples)
    warm = min(unwind_all(unwinder, key, samples)[0] for _ in range(10))
    stats = unwinder.stats
    times = f"{load_ms:.1f} | {cold:.1f} | {warm:.1f}"
    memory = f"{stats.bytes_used // 1024} | {resident_kb() - before} | {stats.rules}"
    print(f"| {name} | {times} | {frames / count:.1f} | {stats.whole / stats.stacks:.1%} | {memory} |")


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--stacks", type=int, default=300, help="of each program (default 300)")
    options.add_argument("--quick", action="store_true", help="50 stacks: does it work?")
    chosen = options.parse_args()
    count = 50 if chosen.quick else chosen.stacks
    titles = ("tables, ms", "first time, µs", "again, µs", "frames", "whole", "tables, KB", "agent grew, KB", "rules")
    print(f"| | {' | '.join(titles)} |", f"|---|{'---:|' * len(titles)}", sep="\n")
    with tempfile.TemporaryDirectory() as directory:
        for name, command in commands(Path(directory)):
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
                assert program.stdout
                program.stdout.readline()
                time.sleep(0.5)
                try:
                    measure(name, program.pid, count)
                finally:
                    program.kill()


if __name__ == "__main__":
    main()
