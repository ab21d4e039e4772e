"""Helpers of the end-to-end tests (in the path of pytest: pyproject.toml, `pythonpath`)."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROVER = Path(sys.executable).with_name("rover")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("ROVER_")}


def complaint(result: "subprocess.CompletedProcess[str]", status: int) -> str:
    """The one sentence that a failed command said."""
    assert "Traceback" not in result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("rover: ")
    assert result.returncode == status, lines[0]
    return lines[0].removeprefix("rover: ")


def folded(text: str) -> dict[tuple[str, ...], int]:
    """Stacks, root first, of a folded output; a line that is none fails."""
    stacks = {}
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        stacks[tuple(stack.split(";"))] = int(count)
    return stacks


def wait_for_line(process: "subprocess.Popen[str]", text: str) -> None:
    """Read the log until it says so."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if text in line:
            return
    raise AssertionError(f"{text!r} was never said: {seen}")


def until(condition: Callable[[], object], within_s: float = 20) -> None:
    """Wait for what must come; the limit is for what is broken, not for what is slow."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    """Living children of a process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] not in "ZX":
            found.append(int(stat.parent.name))
    return found


def interrupt(process: "subprocess.Popen[str]", number: signal.Signals = signal.SIGINT) -> tuple[float, str, str]:
    """Signal the whole group, as a terminal's Ctrl-C does. Returns how long the end took, and what was said."""
    began = time.monotonic()
    os.killpg(process.pid, number)
    output, errors = process.communicate(timeout=60)
    return time.monotonic() - began, output, errors
