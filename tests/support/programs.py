"""Talking to the programs of tests/programs."""

from subprocess import Popen

from rover_core import procfs
from rover_core.model import Process


def process_of(program: "Popen[str]") -> Process:
    process = procfs.read_process(program.pid)
    assert process is not None
    return process


def go(program: "Popen[str]") -> None:
    """Write the line that a program waits for."""
    assert program.stdin is not None
    program.stdin.write("\n")
    program.stdin.flush()
