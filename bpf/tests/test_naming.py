"""What `rover doctor --pid` says of the names of a process's functions."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rover_bpf.naming import diagnose_names
from rover_core.api import Health
from rover_core.model import Process, ProcessKey
from rover_core.procfs import read_process


@pytest.fixture
def this() -> Process:
    process = read_process(os.getpid())
    assert process
    return process


def test_a_process_is_said_how_much_of_it_has_names(this: Process) -> None:
    """Broken: doctor is content with a process whose flame graph will be nothing but addresses, or counts wrongly."""
    (line,) = diagnose_names(this)
    mappings = Path("/proc/self/maps").read_text().splitlines()
    executable = [each for each in mappings if "x" in each.split()[1] and "[vsyscall]" not in each]
    assert f" of {len(executable)} executable mappings have names" in line.detail
    assert line.health in (Health.OK, Health.WARNING)
    assert not any(name in line.detail for name in ("libc.so", os.path.basename(sys.executable)))


def test_what_cannot_be_looked_at_is_no_good_news(this: Process) -> None:
    """Broken: all is well with a process that nobody may look into, or that has just ended."""
    (line,) = diagnose_names(replace(this, key=ProcessKey(this.key.pid, this.key.start_ticks + 1)))
    assert line.health is Health.PROBLEM
    assert "cannot be read" in line.detail
    assert line.remedy


def test_threads_of_the_kernel_have_no_code_of_their_own(this: Process) -> None:
    """Broken: they are reported as unreadable, with a remedy that cannot help."""
    (line,) = diagnose_names(replace(this, kernel_thread=True))
    assert line.health is Health.OK
