"""`rover profile both` of a program that keeps no frame pointers, as it is typed: the distribution's own CPython."""

from pathlib import Path
from typing import Any

import pytest
from end_to_end import folded

pytestmark = pytest.mark.kernel

# Part of its time it computes and the rest it waits, each below twenty frames of its own.
DEEP = """
import time
def deep(n):
    if n:
        return deep(n - 1)
    sum(i * i for i in range(20000))
    time.sleep(0.002)
while True:
    deep(20)
"""


def share(stacks: dict[tuple[str, ...], int], *frames: str) -> float:
    """Of all that was counted, 0..1: that which has all of these frames, or frames that begin so."""
    having = [stack for stack in stacks if all(any(f.startswith(frame) for f in stack) for frame in frames)]
    return sum(stacks[stack] for stack in having) / sum(stacks.values())


def test_cpython_is_whole_on_and_off_cpu_alike(rover: Any, start: Any, tmp_path: Path) -> None:
    """Broken: of CPython one sees the innermost function, or where it computes but not where it waits."""
    process = start("/usr/bin/python3", "-c", DEEP).pid
    options = ("--duration", "1s", "--period", "1ms", "--format", "folded", "--output", "x.folded")
    result = rover("profile", "both", *options, "--pid", process)
    assert result.returncode == 0, result.stderr
    computing, waiting = (folded((tmp_path / f"x-{half}.folded").read_text()) for half in ("oncpu", "offcpu"))
    for stacks in (computing, waiting):
        assert share(stacks, "_start", "__libc_start_main", "Py_RunMain", "_PyEval_EvalFrameDefault") > 0.99, stacks
    assert share(waiting, "do_nanosleep") > 0.5 > 0.2 > share(computing, "do_nanosleep")
    assert all(stack[1] == "_start" for stack in waiting if stack[-1] == "[still waiting]")
