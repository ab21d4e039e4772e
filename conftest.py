"""Shared by all tests: programs with known behaviour, and when tests on the kernel run, are skipped, or must run."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "tests/programs"
FRAME_POINTERS = ("-O1", "-g", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls", "-pthread")

Build = Callable[..., Path]
Start = Callable[..., "subprocess.Popen[str]"]


def kernel_obstacle() -> str:
    """Why tests on the kernel cannot run on this machine; empty if they can."""
    if os.geteuid() != 0:
        return "needs root"
    if not Path("/sys/kernel/btf/vmlinux").exists():
        return "this kernel has no BTF"
    from rover_bpf.loader import find_bcc_python
    from rover_core.errors import RoverError

    try:
        find_bcc_python()
    except RoverError as error:
        # On a machine that could run the tests a missing package is a broken set-up, not a reason to skip.
        return "" if os.environ.get("CI") else str(error)
    return ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow = os.environ.get("ROVER_SLOW_MACHINE")
    for item in items:
        if slow and item.get_closest_marker("full_speed"):
            item.add_marker(pytest.mark.skip(reason=f"needs a machine at full speed; {slow}"))
    if not any(item.get_closest_marker("kernel") for item in items):
        return
    obstacle = kernel_obstacle()
    for item in items:
        if obstacle and item.get_closest_marker("kernel"):
            item.add_marker(pytest.mark.skip(reason=f"test on the kernel: {obstacle}"))


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """build("shares.c", *flags) compiles one of tests/programs, once per session for the same flags.

    Without flags it is called as its source is, with some it has a name of its own.
    """
    built: dict[tuple[str, ...], Path] = {}

    def compile_program(source: str, *flags: str) -> Path:
        key = (source, *flags)
        if key not in built:
            folder = tmp_path_factory.mktemp("programs")
            program = folder / f"{Path(source).stem}{len(built) if flags else ''}"
            _compile(PROGRAMS / source, program, flags)
            built[key] = program
        return built[key]

    return compile_program


def _compile(source: Path, program: Path, flags: tuple[str, ...]) -> None:
    compilers = {".c": "gcc", ".cpp": "g++", ".rs": "rustc", ".go": "go"}
    compiler = compilers[source.suffix]
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    commands = {
        ".c": [compiler, *FRAME_POINTERS, "-o", str(program), str(source), *flags],  # libraries come last
        ".cpp": [compiler, *FRAME_POINTERS, *flags, "-o", str(program), str(source)],
        ".rs": [compiler, "-O", "-Cforce-frame-pointers=yes", *flags, "-o", str(program), str(source)],
        ".go": [compiler, "build", *flags, "-o", str(program), str(source)],
    }
    result = subprocess.run(commands[source.suffix], capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr


@pytest.fixture
def start() -> Iterator[Start]:
    """start(program, *arguments) runs it with pipes for standard input and output; ended with the test, by pid."""
    running: list[subprocess.Popen[str]] = []

    def run(program: Path | str, *arguments: str) -> "subprocess.Popen[str]":
        command = [str(program), *arguments]
        running.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.communicate()
