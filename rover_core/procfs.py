"""Processes out of /proc. Standard library only; proc(5) is the source of every field number here.

The whole table is read every few seconds, so a scan reads one small file (`stat`) per known process, and the others
(`cmdline`, the link `exe`) only for new ones and for those that have called exec(2) since.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rover_core.model import Process, ProcessKey

PROC_VARIABLE = "ROVER_HOST_PROC_MAPPING"
_PF_KTHREAD = 0x00200000  # include/linux/sched.h


def proc_root() -> Path:
    """Where the host's /proc is mounted: ROVER_HOST_PROC_MAPPING in a container, else /proc."""
    return Path(os.environ.get(PROC_VARIABLE) or "/proc")


@dataclass(frozen=True, slots=True)
class _Stat:
    """Of /proc/<pid>/stat: what identifies a process, and what changes with exec(2).

    uid: the owner of /proc/<pid>, which is the effective uid even of a process that may not be dumped (the kernel's
    task_dump_owner). image: start and end of the code and top of the stack (fields 26 to 28), new with every exec
    under address space randomisation; all 0 for a kernel thread, and where ptrace access is denied.
    """

    key: ProcessKey
    comm: str
    ppid: int
    uid: int
    kernel_thread: bool
    image: bytes


@dataclass(frozen=True, slots=True)
class _Known:
    """settled: read in full twice. A worker often renames itself right after fork(2), without an exec to notice."""

    stat: _Stat
    process: Process
    settled: bool


class ProcessTable:
    """The processes of this host, cached from scan to scan. Not for two threads at a time.

    Limit: a command line that is rewritten in place after its process has settled keeps its old text.
    """

    def __init__(self, root: Path | None = None) -> None:
        self._root = str(root or proc_root())
        self._known: dict[int, _Known] = {}

    @property
    def processes(self) -> list[Process]:
        """As they were last looked at."""
        return [known.process for known in self._known.values()]

    @property
    def unsettled(self) -> list[int]:
        """Pids that want a second look, some time after the first: they may have renamed themselves since."""
        return [pid for pid, known in self._known.items() if not known.settled]

    def scan(self) -> list[Process]:
        """Look at every pid there is, in order. Zombies and those that vanish meanwhile are left out."""
        pids = _pids(self._root)
        self._known = {pid: known for pid in pids if (known := self._look(pid)) is not None}
        return self.processes

    def update(self, pids: Iterable[int]) -> None:
        """Look at these pids alone: processes that have begun, changed or ended."""
        for pid in pids:
            known = self._look(pid)
            if known is not None:
                self._known[pid] = known
            else:
                self._known.pop(pid, None)

    def _look(self, pid: int) -> _Known | None:
        stat, known = _read_stat(self._root, pid), self._known.get(pid)
        if stat is None:
            return None
        if known is None or known.stat != stat:
            return _Known(stat, _read_rest(self._root, stat), settled=stat.kernel_thread)
        if known.settled:
            return known
        process = _read_rest(self._root, stat)
        return _Known(stat, known.process if known.process == process else process, settled=True)


def scan(root: Path | None = None) -> list[Process]:
    """Every process there is now, read afresh."""
    return ProcessTable(root).scan()


def read_process(pid: int, root: Path | None = None) -> Process | None:
    """One process; None if there is none with this pid."""
    place = str(root or proc_root())
    stat = _read_stat(place, pid)
    return _read_rest(place, stat) if stat else None


def process_key(pid: int, root: Path | None = None) -> ProcessKey | None:
    """The identity of the process that has this pid now; None if there is none."""
    stat = _read_stat(str(root or proc_root()), pid)
    return stat.key if stat else None


def _pids(root: str) -> Iterator[int]:
    return iter(sorted(int(name) for name in os.listdir(root) if name.isdecimal()))


def _read_stat(root: str, pid: int) -> _Stat | None:
    directory = f"{root}/{pid}"
    content = _read(f"{directory}/stat")
    # comm is whatever the process calls itself, parentheses and blanks included: the last ")" ends it.
    opening, closing = content.find(b"("), content.rfind(b")")
    fields = content[closing + 2 :].split(None, 26)  # fields[0] is field 3 of proc(5)
    if opening < 0 or len(fields) < 26 or _is_zombie(fields):
        return None
    try:
        uid = os.stat(directory).st_uid
    except OSError:
        return None
    kernel_thread = bool(int(fields[6]) & _PF_KTHREAD)
    comm, key = _text(content[opening + 1 : closing]), ProcessKey(pid, int(fields[19]))
    return _Stat(key, comm, int(fields[1]), uid, kernel_thread, b" ".join(fields[23:26]))


def _is_zombie(fields: list[bytes]) -> bool:
    """Dead and not yet waited for; a process whose main thread alone has ended (threads, field 20) lives on."""
    return fields[0] in (b"Z", b"X") and int(fields[17]) <= 1


def _read_rest(root: str, stat: _Stat) -> Process:
    directory = f"{root}/{stat.key.pid}"
    exe = None if stat.kernel_thread else _exe(directory)
    words = _read(f"{directory}/cmdline").rstrip(b"\0").split(b"\0")
    cmdline = tuple(_text(word) for word in words) if words != [b""] else ()
    return Process(stat.key, stat.ppid, stat.comm, exe, cmdline, stat.uid, stat.kernel_thread)


def _exe(directory: str) -> str | None:
    try:
        return _text(os.readlink(os.fsencode(f"{directory}/exe")))
    except OSError:  # a zombie, or not ours to look at
        return None


def _read(path: str) -> bytes:
    """The whole file; empty if it cannot be read. Without Python's buffering: half the cost, and these are small."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        chunks = []
        while chunk := os.read(handle, 65536):
            chunks.append(chunk)
            if len(chunk) < 4096:  # procfs fills the buffer by pages: a short read is the end
                break
        return b"".join(chunks)
    except OSError:  # the process is gone (ESRCH)
        return b""
    finally:
        os.close(handle)


def _text(name: bytes) -> str:
    """Names are bytes to the kernel; what is not UTF-8 is shown as U+FFFD rather than refused."""
    return name.decode(errors="replace")
