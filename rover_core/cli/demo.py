"""A small workload for a host that has none, so that a newcomer's first profile shows something."""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

from rover_core.procfs import proc_root

_IDLE_SHARE = 0.05
_LOOK_S = 0.5
_SOURCE = Path(__file__).with_name("demo.c")
# PR_SET_PDEATHSIG, SIGKILL: the workload must not outlive a Rover that is killed. demo.c does the same.
_PYTHON = (
    "import ctypes, hashlib\nctypes.CDLL(None).prctl(1, 9)\n"
    "while True:\n    sorted(hashlib.sha256(bytes(n)).digest() for n in range(4096))"
)


def host_is_idle() -> bool:
    """Whether less than 5 % of one processor's time goes into work, by half a second of /proc/stat."""
    before = _busy_ticks()
    time.sleep(_LOOK_S)
    return (_busy_ticks() - before) / 100 / _LOOK_S < _IDLE_SHARE


def _busy_ticks() -> int:
    """user + nice + system + irq + softirq, in 1/100 s, summed over the processors (proc(5))."""
    fields = (proc_root() / "stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _, _, irq, softirq = map(int, fields[:7])
    return user + nice + system + irq + softirq


class Demo:
    """Runs while it is entered. `description` says what it is."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="rover-demo-")
        compiler = shutil.which("cc") or shutil.which("gcc")
        program = Path(self._folder.name) / "rover-demo"
        if compiler and _compile(compiler, program):
            self._command = [str(program)]
            self.description = "a small C program that looks for primes, sorts, reads and waits"
        else:
            self._command = [sys.executable, "-c", _PYTHON]
            self.description = "a Python program that hashes and sorts"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Demo":
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, process_group=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()


def _compile(compiler: str, program: Path) -> bool:
    flags = ["-O1", "-g", "-fno-omit-frame-pointer", "-fno-inline", "-fno-optimize-sibling-calls", "-pthread"]
    result = subprocess.run([compiler, *flags, "-o", str(program), str(_SOURCE)], capture_output=True, check=False)
    return result.returncode == 0
