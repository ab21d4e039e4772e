"""Talking to the programs of tests/programs."""

from collections.abc import Callable
from subprocess import Popen
from typing import NamedTuple

from rover_core import procfs
from rover_core.model import Process

Script = Callable[..., "Popen[str]"]
"""script(text, *arguments): starts Python on it."""


def process_of(program: "Popen[str]") -> Process:
    process = procfs.read_process(program.pid)
    assert process is not None
    return process


def go(program: "Popen[str]") -> None:
    """Write the line that a program waits for."""
    assert program.stdin is not None
    program.stdin.write("\n")
    program.stdin.flush()


def line(program: "Popen[str]") -> str:
    """The next that it says."""
    assert program.stdout is not None
    return program.stdout.readline().strip()


class Account(NamedTuple):
    """The kernel's own of one thread. waited_ns: off CPU, voluntarily or not; the others: see getrusage(2)."""

    waited_ns: int
    voluntary: int
    involuntary: int
    cpu_ns: int


def read_accounts(program: "Popen[str]") -> dict[str, Account]:
    """What tests/programs/waits.c says when it is done, by the function that all of the thread's work is in."""
    assert program.stdout is not None
    words = program.stdout.readline().split()
    step = 1 + len(Account._fields)
    return {words[at]: Account(*map(int, words[at + 1 : at + step])) for at in range(0, len(words), step)}
