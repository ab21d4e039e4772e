"""Compares profilers that find whole stacks where there are no frame pointers: `make bench`, or `ARGS=--quick`.

Nothing attached, Rover and `perf record --call-graph dwarf` take turns over a C program without frame pointers,
CPython, and Node where there is one.
"""

import ctypes
import mmap
import os
import re
import shutil
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from contenders import Contender, count_folded
from measuring import LOAD, build_load
from processtree import descendants
from turns import Cell, against_nothing, median, parser, processors, run

# The C library's own, beneath main() and a thread's function. Which of them is the last is a matter of the last few
# bytes of the stack, which perf does not always see.
_START = re.compile(r"(_start|__libc_start_(call_)?main(_impl)?|start_thread|clone3?)(@.*)?$")
_BPF, _MAP_GET_FD_BY_ID, _RING_BUFFER = 321, 14, 27  # x86-64, as shipping stacks is
_PERF_FREQUENCY = 111
_STACK_BYTES = 16384  # as much as Rover ships; perf's default is half of it


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser(__doc__).parse_args(arguments)
    loads: dict[str, Callable[[Path], Sequence[str]]] = {"C, -O2 -fomit-frame-pointer": _c, "CPython": _python}
    if shutil.which("node"):
        loads["Node"] = _node
    for title, load in loads.items():
        if not options.json:
            print(f"\n### {title}\n")
        run(options, _contenders, load, _ROWS, [])
    return 0


def _c(folder: Path) -> Sequence[str]:
    return build_load(folder, "load.c", "-O2", "-fomit-frame-pointer")


def _python(folder: Path) -> Sequence[str]:
    return _interpreted(folder, Path("/usr/bin/python3"), "busy.py")


def _node(folder: Path) -> Sequence[str]:
    return _interpreted(folder, Path(shutil.which("node") or ""), "busy.js")


def _interpreted(folder: Path, interpreter: Path, script: str) -> Sequence[str]:
    """By a link, since a process is named after what was executed."""
    link = folder / LOAD
    link.symlink_to(interpreter)
    return [str(link), str(Path(__file__).with_name(script))]


def _contenders(folder: Path) -> list[Contender]:
    if not shutil.which("perf"):
        raise SystemExit("not installed: perf. Run as root: bash tests/apt-install bench")
    rover = str(Path(sys.executable).with_name("rover"))
    data = folder / "perf.data"
    sampled = ["oncpu", "--period", "9ms", "--all", "--duration", "0", "--format", "folded", "--output", "-"]
    dwarf = ["-F", str(_PERF_FREQUENCY), "--call-graph", f"dwarf,{_STACK_BYTES}", "-a", "-e", "cpu-clock"]
    return [
        Contender(
            "rover profile oncpu",
            [rover, "profile", *sampled],
            1000 / 9,
            count_folded,
            whole=_whole_folded,
            moved=_through_rings,
        ),
        Contender(
            "perf record --call-graph dwarf",
            ["perf", "record", *dwarf, "-o", str(data)],
            _PERF_FREQUENCY,
            lambda output, name: len(_perf_stacks(output, name)),
            to_stdout=False,
            then=["perf", "script", "--no-inline", "-i", str(data), "-F", "comm,ip,sym"],
            whole=lambda output, name: sum(
                bool(_START.match(stack[-1].split()[-1])) for stack in _perf_stacks(output, name)
            ),
            moved=lambda _: data.stat().st_size,
        ),
    ]


def _whole_folded(output: Path, name: str) -> int:
    """Lines are `process;frame;frame count`, outermost first."""
    lines = (line.rpartition(" ") for line in output.read_text(errors="replace").splitlines())
    split = ((stack.split(";"), int(count)) for stack, _, count in lines)
    return sum(count for stack, count in split if stack[0] == name and _START.match(stack[1]))


def _perf_stacks(output: Path, name: str) -> list[list[str]]:
    """Paragraphs: the process, then a line for each frame, `address symbol`, outermost last."""
    samples = (paragraph.splitlines() for paragraph in output.read_text(errors="replace").split("\n\n"))
    return [lines for lines in samples if lines and lines[0].split() == [name]]


def _through_rings(pid: int) -> int:
    """Bytes ever written to the ring buffers that the process and its descendants hold."""
    held = [fdinfo for each in descendants(pid) for fdinfo in Path(f"/proc/{each}/fdinfo").iterdir()]
    return sum(map(_written, {ring for fdinfo in held for ring in _rings(fdinfo)}))


def _rings(fdinfo: Path) -> Iterator[int]:
    """The id of the map behind a descriptor, if that is a ring buffer."""
    facts = dict(re.findall(r"^(\w+):\s*(\d+)", fdinfo.read_text(), re.MULTILINE))
    if facts.get("map_type") == str(_RING_BUFFER):
        yield int(facts["map_id"])


def _written(ring: int) -> int:
    """What the producer's position says, which only grows (kernel/bpf/ringbuf.c: the second page)."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(_BPF, _MAP_GET_FD_BY_ID, struct.pack("<III", ring, 0, 0), 12)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "a ring buffer cannot be looked at")
    try:
        with mmap.mmap(fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ, offset=mmap.PAGESIZE) as positions:
            return int(struct.unpack_from("<Q", positions)[0])
    finally:
        os.close(fd)


_ROWS: dict[str, Cell] = {
    "processors the load had (less: others were at work)": processors,
    "work done per second, of without": against_nothing(lambda m: m.work.per_second),
    "work done per CPU second, of without": against_nothing(lambda m: m.work.per_cpu_second),
    "samples of the load kept, of expected": median(lambda m: m.samples / m.expected if m.expected else 0, ".1%"),
    "stacks that reach the start of their thread": median(lambda m: m.whole / m.samples if m.samples else 0, ".1%"),
    "handed over by the kernel, KB a second": median(lambda m: m.moved_bytes / m.work.wall_s / 1024, ",.0f"),
    "profiler's CPU while sampling, of one processor": median(lambda m: m.sampling_cpu_s / m.work.wall_s, ".2%"),
    "profiler's CPU from the end to the result, s": median(lambda m: m.finish_cpu_s, ".2f"),
    "resident while sampling, MB": median(lambda m: m.steady_mb, ".0f"),
}


if __name__ == "__main__":
    raise SystemExit(main())
