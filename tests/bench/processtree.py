"""What a process and its descendants cost, from /proc."""

import os
import threading
from collections import defaultdict
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    """The process itself first; what has ended is not in it."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children[int(fields[1])].append(int(entry.name))
    found = [pid]
    for each in found:
        found += children[each]
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of the process, of its live descendants, and of those it has waited for."""
    fields = [_stat(each) for each in descendants(pid)]
    return sum(sum(map(int, each[11:15])) for each in fields if each) / _TICKS


def on_every_processor(pid: int) -> bool:
    """Whether the process and its descendants hold at least as many perf events as there are processors."""
    return _held(pid, "[perf_event]") >= len(os.sched_getaffinity(0))


def attached(pid: int) -> bool:
    """Whether the process or a descendant has a program attached to anything."""
    return _held(pid, "[perf_event]", "bpf_link", "bpf-link") > 0


def _held(pid: int, *kinds: str) -> int:
    names = {f"anon_inode:{kind}" for kind in kinds}
    return sum(_held_by(each, names) for each in descendants(pid))


def _stat(pid: int) -> list[str]:
    """proc(5) from field 3 (state) on; empty for one that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []


def _held_by(pid: int, names: set[str]) -> int:
    try:
        return sum(os.readlink(fd.path) in names for fd in os.scandir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


class MemoryWatch:
    """Looks ten times a second. steady_mb: resident together at `mark_steady`; peak_mb: the most; shared_once_mb: as
    the first, with what processes share divided among them (PSS)."""

    def __init__(self, pid: int) -> None:
        self.steady_mb = self.peak_mb = self.shared_once_mb = 0.0
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            self.peak_mb = max(self.peak_mb, self.look())

    def look(self) -> float:
        return sum(_kb(pid, "status", "VmRSS:") for pid in descendants(self._pid)) / 1024

    def mark_steady(self) -> None:
        self.steady_mb = self.look()
        self.shared_once_mb = sum(_kb(pid, "smaps_rollup", "Pss:") for pid in descendants(self._pid)) / 1024

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()


def _kb(pid: int, file: str, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)
