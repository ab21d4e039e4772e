"""The profilers that are compared: how each is started, and how many samples of a process are in what it wrote."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from processtree import on_every_processor

KERNEL_HEADERS = Path(__file__).parents[2] / "bpf" / "rover_bpf" / "kernel"

# What profile-bpfcc includes beyond the headers that rover_bpf brings. Registers lie first (include/uapi/linux/
# bpf_perf_event.h). PAGE_OFFSET only tells kernel addresses from others.
_EXTRA_HEADERS = {
    "uapi/linux/bpf_perf_event.h": (
        "#pragma once\n#include <uapi/linux/ptrace.h>\n"
        "struct bpf_perf_event_data { struct pt_regs regs; __u64 sample_period; __u64 addr; };\n"
    ),
    "linux/sched.h": "#pragma once\n#define TASK_COMM_LEN 16\n#define PAGE_OFFSET 0xffff800000000000UL\n",
}


@dataclass(frozen=True, slots=True)
class Contender:
    """A profiler of the whole host that samples until SIGINT.

    frequency: samples a second of CPU time. count: samples of a process of that name, from the output file. then: a
    command that makes a readable result of the output, if the profiler itself does not; it runs after it. ready:
    whether it is attached, by its pid. whole: of those samples, the ones that reach the start of their thread.
    moved: bytes that the kernel has handed over to it, by its pid. lost: records that found no room, from the output.
    """

    name: str
    command: Sequence[str]
    frequency: float
    count: Callable[[Path, str], int]
    to_stdout: bool = True
    then: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[int], bool] = on_every_processor
    whole: Callable[[Path, str], int] = lambda *_: 0
    moved: Callable[[int], int] = lambda _: 0
    lost: Callable[[Path], int] = lambda _: 0


def contenders(folder: Path) -> list[Contender]:
    """folder: for what they need and write. SystemExit names what is not installed."""
    rover = Path(sys.executable).with_name("rover")
    missing = [name for name in ("profile-bpfcc", "perf") if not shutil.which(name)]
    if missing:
        raise SystemExit(f"not installed: {', '.join(missing)}. Run as root: bash tests/apt-install bench")
    data = folder / "perf.data"
    sampled = ["oncpu", "--period", "9ms", "--all", "--duration", "0", "--format", "folded", "--output", "-"]
    return [
        Contender("rover profile oncpu", [str(rover), "profile", *sampled], 1000 / 9, count_folded),
        Contender(
            "profile-bpfcc", ["profile-bpfcc", "-F", "111", "-adf"], 111, count_folded, environment=headers(folder)
        ),
        Contender(
            "perf record",
            ["perf", "record", "-F", "111", "-g", "-a", "-e", "cpu-clock", "-o", str(data)],
            111,
            _count_lines,
            to_stdout=False,
            then=["perf", "script", "-i", str(data), "-F", "comm"],
        ),
    ]


def has_kernel_headers() -> bool:
    return Path(f"/lib/modules/{platform.release()}/build").exists()


def headers(folder: Path) -> Mapping[str, str]:
    """Environment for BCC on a kernel that no header package exists for."""
    if has_kernel_headers():
        return {}
    copy = folder / "headers"
    shutil.copytree(KERNEL_HEADERS, copy)
    for name, text in _EXTRA_HEADERS.items():
        (copy / "include" / name).write_text(text)
    return {"BCC_KERNEL_SOURCE": str(copy)}


def count_folded(output: Path, name: str) -> int:
    """Lines are `process;frame;frame count`."""
    lines = output.read_text(errors="replace").splitlines()
    return sum(int(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name};"))


def _count_lines(output: Path, name: str) -> int:
    """One line a sample."""
    return sum(line.split() == [name] for line in output.read_text(errors="replace").splitlines())


def versions() -> dict[str, str]:
    packages = ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", "bpfcc-tools", "linux-perf", "bpftrace"]
    found = subprocess.run(packages, capture_output=True, text=True, check=False).stdout.split("\n")
    cpus = len(os.sched_getaffinity(0))
    return {"kernel": platform.release(), "processors": str(cpus), **dict(line.split() for line in found if line)}
