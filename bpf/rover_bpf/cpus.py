"""Which processors there are, from /sys/devices/system/cpu."""

from functools import cache
from pathlib import Path

_FOLDER = Path("/sys/devices/system/cpu")


def parse_cpu_list(text: str) -> list[int]:
    """`0-3,8` -> [0, 1, 2, 3, 8] (the kernel's cpulist format)."""
    cpus: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        cpus.extend(range(int(first), int(last or first) + 1))
    return cpus


def online_cpus() -> list[int]:
    """Processors that run now: not just those this process may run on."""
    return parse_cpu_list((_FOLDER / "online").read_text())


@cache
def possible_cpus() -> int:
    """How many processors per-CPU maps have values for."""
    return len(parse_cpu_list((_FOLDER / "possible").read_text()))
