"""From `--pid`, `--comm` and `--all` to processes."""

from collections.abc import Sequence
from pathlib import Path

from rover_core import procfs
from rover_core.errors import UsageError
from rover_core.model import Process, ProcessKey

_LIST = "`rover processes` lists what runs"


def find_targets(pids: Sequence[int], comms: Sequence[str], everything: bool) -> tuple[ProcessKey, ...] | None:
    """The processes that were asked for; None means all of the host.

    Raises UsageError naming what there is not, and when `--all` contradicts the others.
    """
    if everything and (pids or comms):
        raise UsageError("--all contradicts --pid and --comm", remedy="leave one of them out")
    if not pids and not comms:
        return None
    found = {pid: _by_pid(pid).key for pid in pids}
    for comm in comms:
        found.update((process.pid, process.key) for process in _by_comm(comm))
    return tuple(found.values())


def _by_pid(pid: int) -> Process:
    process = procfs.read_process(pid)
    if process is None:
        raise UsageError(f"there is no process {pid}", why=_why_not(pid), remedy=_LIST)
    leader = _thread_group(pid)
    if leader not in (None, pid):
        raise UsageError(f"{pid} is a thread, not a process", remedy=f"its process is {leader}: use --pid {leader}")
    return process


def _thread_group(pid: int) -> int | None:
    try:
        status = (procfs.proc_root() / str(pid) / "status").read_text(errors="replace")
    except OSError:
        return None
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("Tgid:")), None)


def _why_not(pid: int) -> str:
    highest = int(Path("/proc/sys/kernel/pid_max").read_text())
    return "" if 0 < pid <= highest else f"process numbers here go from 1 to {highest}"


def _by_comm(comm: str) -> list[Process]:
    matches = [process for process in procfs.scan() if comm in (process.comm, process.name)]
    if not matches:
        raise UsageError(f"no process is named {comm!r}", why="neither by its comm nor its executable", remedy=_LIST)
    return matches
