"""Compares what off-CPU profilers cost, side by side in one run: `make bench`, or `make bench ARGS=--quick`.

Nothing attached, Rover (over everything, and over a process that is not the load), BCC's offcputime and a bpftrace
script take turns over two processes that do nothing but switch.
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from contenders import Contender, has_kernel_headers, headers
from measuring import build_load
from processtree import attached
from turns import against_nothing, median, parser, processors, run

_KPROBES = Path("/sys/bus/event_source/devices/kprobe")
_SCRIPT = Path(__file__).with_name("waits.bt")
_NO_KPROBES = (
    "offcputime-bpfcc is missing: it attaches a kprobe to finish_task_switch, and this kernel has none. The bpftrace "
    "script (`tests/bench/waits.bt`) does the same by the sched_switch tracepoint."
)
_NO_HEADERS = "No kernel headers on this machine: offcputime-bpfcc compiled with those of rover_bpf and two more."


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser(__doc__).parse_args(arguments)
    remarks = [_NO_KPROBES] if not _KPROBES.exists() else [] if has_kernel_headers() else [_NO_HEADERS]
    with subprocess.Popen(["sleep", "infinity"]) as other:
        try:
            return run(options, lambda folder: _contenders(folder, other.pid), _load, _ROWS, ["", *remarks])
        finally:
            other.kill()


def _load(folder: Path) -> list[str]:
    return build_load(folder, "switches.c")


def _contenders(folder: Path, other: int) -> list[Contender]:
    missing = [name for name in ("offcputime-bpfcc", "bpftrace") if not shutil.which(name)]
    if missing:
        raise SystemExit(f"not installed: {', '.join(missing)}. Run as root: bash tests/apt-install bench")
    rover = str(Path(sys.executable).with_name("rover"))
    folded = ["--duration", "0", "--format", "folded", "--output", "-"]
    found = [
        _contender("rover profile offcpu --all", [rover, "profile", "offcpu", "--all", *folded]),
        _contender("rover profile offcpu --pid of another", [rover, "profile", "offcpu", f"--pid={other}", *folded]),
        _contender("bpftrace script", ["bpftrace", str(_SCRIPT)]),
    ]
    if _KPROBES.exists():
        found.append(_contender("offcputime-bpfcc", ["offcputime-bpfcc", "-f"], headers(folder)))
    return found


def _contender(name: str, command: Sequence[str], environment: Mapping[str, str] = {}) -> Contender:
    # Waits are not sampled, so there is no number of samples to expect or to count.
    return Contender(name, command, 0, lambda *_: 0, environment=environment, ready=attached)


_ROWS = {
    "processors the load had, of 1 (less: others were at work)": processors,
    "round trips (two switches each) per second, of without": against_nothing(lambda m: m.work.per_second),
    "round trips per CPU second, of without": against_nothing(lambda m: m.work.per_cpu_second),
    "profiler's CPU while the load ran, of one processor": median(lambda m: m.sampling_cpu_s / m.work.wall_s, ".2%"),
    "profiler's CPU to start, s": median(lambda m: m.startup_cpu_s, ".2f"),
    "profiler's CPU from the end to the result, s": median(lambda m: m.finish_cpu_s, ".2f"),
    "resident while the load ran, MB": median(lambda m: m.steady_mb, ".0f"),
    "resident at most, with children, MB": median(lambda m: m.peak_mb, ".0f"),
}


if __name__ == "__main__":
    raise SystemExit(main())
