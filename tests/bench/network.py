"""Compares what counting network traffic costs, side by side in one run: `make bench`, or `make bench ARGS=--quick`.

Nothing attached, Rover (over everything, and over a process that is not the load) and a bpftrace script that counts
the same calls take turns over servers under load, and over a program that only reads and writes files. Each load is a
section of its own, of two to three minutes: `python tests/bench/network.py nginx redis` takes those alone.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from contenders import Contender
from measuring import build_load
from processtree import attached
from traffic import KINDS
from turns import NOTHING, Cell, Rounds, against_nothing, median, parser, run

from rover_core.plugins import DISABLED_VARIABLE, PluginManager

TITLES = {
    "nginx": "nginx, as much as it can",
    "nginx-5000": "nginx, 5 000 requests a second",
    "nginx-20000": "nginx, some 20 000 requests a second",
    "nginx-tls": "nginx over TLS, as much as it can",
    "redis": "redis, as much as it can",
    "files": "Reading and writing files",
}
_HERE = Path(__file__).parent
_ANALYZE = "profiling.task.network.protocol_analyze"
_NO_KPROBES = (
    "tcptop-bpfcc and tcplife-bpfcc are missing: they attach kprobes, and this kernel has none. The bpftrace script "
    "(`tests/bench/traffic.bt`) counts calls, bytes and times by tracepoints of system calls."
)


def main(arguments: Sequence[str] | None = None) -> int:
    made = parser(__doc__)
    made.set_defaults(duration=4.0)  # six loads, five contenders, three rounds: fourteen minutes
    made.add_argument("sections", nargs="*", metavar="section", help=f"of {', '.join(TITLES)} (default: all)")
    options = made.parse_args(arguments)
    if unknown := set(options.sections) - set(TITLES):
        made.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(TITLES)}")
    quick = options.quick
    if quick:  # within two minutes
        options.quick, options.rounds, options.duration = False, 1, 1.0
    remarks = [] if Path("/sys/bus/event_source/devices/kprobe").exists() else [_NO_KPROBES]
    with subprocess.Popen(["sleep", "infinity"]) as other:
        try:
            for section in options.sections or TITLES:
                if not options.json:
                    print(f"\n### {TITLES[section]}\n", flush=True)
                run(
                    options,
                    lambda _: _contenders(None if quick else other.pid),
                    lambda folder, section=section: _load(section, folder),  # type: ignore[misc]
                    _SERVED if section in KINDS else _FILES,
                    remarks,
                )
        finally:
            other.kill()
    return 0


def _load(section: str, folder: Path) -> list[str]:
    if section in KINDS:
        return [sys.executable, str(_HERE / "traffic.py"), section]
    return build_load(folder, "files.c")


def _protocols() -> str:
    """Names of the installed plugins that read a protocol."""
    return ",".join(each.name for each in PluginManager.discover([]).plugins if "rover_protocols" in each.hooks)


def _contenders(other: int | None) -> list[Contender]:
    """other: the pid of a process that is not the load."""
    if not shutil.which("bpftrace"):
        raise SystemExit("not installed: bpftrace. Run as root: bash tests/apt-install bench")
    rover = [
        str(Path(sys.executable).with_name("rover")),
        "profile",
        "network",
        "--duration",
        "0",
        "--format",
        "json",
    ]
    return [
        _reading("rover profile network --all", [*rover, "--all"]),
        _reading("the same, no fast path", [*rover, "--all", "--set", f"{_ANALYZE}.fast_path=false"]),
        _contender("the same, layer 4 alone", ["env", f"{DISABLED_VARIABLE}={_protocols()}", *rover, "--all"]),
        *([_contender("rover profile network --pid of another", [*rover, f"--pid={other}"])] if other else ()),
        _contender("bpftrace script", ["bpftrace", str(_HERE / "traffic.bt")]),
    ]


def _contender(name: str, command: Sequence[str]) -> Contender:
    return Contender(name, command, 0, lambda *_: 0, ready=attached)


def _reading(name: str, command: Sequence[str]) -> Contender:
    """One that reads what was said: its samples are exchanges."""
    return replace(_contender(name, command), count=lambda output, _: _steps(output, "exchanges"), lost=_lost)


def _steps(output: Path, step: str) -> int:
    intervals = (json.loads(line) for line in output.read_text().splitlines())
    return sum(each["steps"].get(step, 0) for each in intervals if each["type"] == "interval")


def _lost(output: Path) -> int:
    return _steps(output, "records lost, ring full")


def _latency(place: int) -> Cell:
    """In microseconds: the median of the rounds."""

    def cell(taken: Rounds, name: str) -> str:
        values = sorted(each.work.latencies_us[place] for each in taken[name])
        return f"{values[len(values) // 2]:,}"

    return cell


def _per_requests(taken: Rounds, name: str) -> str:
    """Of the agent and its workers."""
    costs = sorted(each.sampling_cpu_s / each.work.units * 1_000_000 for each in taken[name])
    return "" if name == NOTHING else f"{costs[len(costs) // 2]:.2f}"


# A served request is two calls of the server's, a read and a write, and two of the client's; a turn over a file is a
# write, a read and two seeks.
_CALLS_A_UNIT = 4


_ROWS = {
    "done per second, of without": against_nothing(lambda m: m.work.per_second),
    "done per CPU second, of without": against_nothing(lambda m: m.work.per_cpu_second),
    "profiler's CPU while the load ran, of one processor": median(lambda m: m.sampling_cpu_s / m.work.wall_s, ".2%"),
    "profiler's CPU to start, s": median(lambda m: m.startup_cpu_s, ".2f"),
    "memory while the load ran, what its processes share counted once (PSS), MB": median(
        lambda m: m.shared_once_mb, ".0f"
    ),
}
_PER_CALLS = "profiler's CPU s per 100 000 system calls"
_FILES = {**_ROWS, _PER_CALLS: median(lambda m: m.sampling_cpu_s / (_CALLS_A_UNIT * m.work.units) * 100_000, ".3f")}
_SERVED = {
    **_FILES,
    "latency, median, us": _latency(0),
    "latency, 99 %, us": _latency(1),
    "profiler's CPU, ms per 1 000 requests": _per_requests,
    "exchanges seen, a request (the client's and the server's)": median(lambda m: m.samples / m.work.units, ".3f"),
    "records lost for want of room": median(lambda m: m.lost, ",.0f"),
}

if __name__ == "__main__":
    raise SystemExit(main())
