"""Stopping a thread anywhere, and what its registers and its stack are then: what a sample holds, without eBPF."""

import ctypes
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rover_bpf.unwind import UserState
from rover_core.model import ProcessKey

_GETREGS, _DETACH, _SEIZE, _INTERRUPT = 12, 17, 0x4206, 0x4207
_WALL = 0x40000000
# struct user_regs_struct of <sys/user.h>, and the DWARF numbers of the same registers.
_NAMES = (
    *("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi"),
    *("orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs"),
)
_NUMBERS = ("rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", *(f"r{number}" for number in range(8, 16)))
_FRAME = re.compile(r"^#\d+\s+0x([0-9a-f]+)", re.MULTILINE)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


@dataclass(frozen=True)
class Sample:
    """What the kernel would have shipped."""

    state: UserState
    stack: bytes


def process_key(pid: int) -> ProcessKey:
    stat = Path(f"/proc/{pid}/stat").read_text()
    return ProcessKey(pid, int(stat.rpartition(")")[2].split()[19]))


def threads(pid: int) -> list[int]:
    return sorted(int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir())


def _ptrace(request: int, tid: int, data: object = None) -> None:
    if _libc.ptrace(request, tid, None, data) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def sample(tid: int, copied: int = 1 << 14) -> Sample:
    """Stop the thread where it happens to be, look, and let it go on."""
    _ptrace(_SEIZE, tid)
    try:
        _ptrace(_INTERRUPT, tid)
        os.waitpid(tid, _WALL)
        values = (ctypes.c_ulonglong * len(_NAMES))()
        _ptrace(_GETREGS, tid, ctypes.cast(values, ctypes.c_void_p))
        registers = dict(zip(_NAMES, values, strict=True))
        return Sample(_state(registers), _memory(tid, registers["rsp"], copied))
    finally:
        _ptrace(_DETACH, tid)


def _state(registers: dict[str, int]) -> UserState:
    others = {number: registers[name] for number, name in enumerate(_NUMBERS)}
    return UserState(registers["rip"], registers["rsp"], registers["rbp"], others)


def _memory(tid: int, address: int, size: int) -> bytes:
    """Up to `size` bytes from there, fewer where the mapping ends."""
    with Path(f"/proc/{tid}/mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(size)


@contextmanager
def held(pid: int) -> Iterator[None]:
    """The process stopped, so that two can look at the same stack."""
    os.kill(pid, signal.SIGSTOP)
    try:
        deadline = time.monotonic() + 5
        while any(_running(tid) for tid in threads(pid)) and time.monotonic() < deadline:
            time.sleep(0.001)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _running(tid: int) -> bool:
    return Path(f"/proc/{tid}/stat").read_text().rpartition(")")[2].split()[0] not in "Tt"


def other_unwinder(tid: int) -> list[int]:
    """The addresses that elfutils finds for this thread, leaf first."""
    shown = subprocess.run(
        ["eu-stack", "-1", "-n", "0", "-r", "-p", str(tid)], capture_output=True, text=True, check=False
    )
    return [int(address, 16) for address in _FRAME.findall(shown.stdout)]
