"""Programs whose stacks are unwound, started when a test wants them."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
# For `stops`, which the benchmark uses too.
sys.path.append(str(Path(__file__).parent))
_OPTIONS = ("-O2", "-fomit-frame-pointer", "-w")


def _built(source: Path, output: Path, flags: tuple[str, ...]) -> None:
    compilers = {
        ".c": ["gcc", *_OPTIONS, str(source), "-o", str(output), *flags, "-lm"],
        ".cpp": ["g++", *_OPTIONS, str(source), "-o", str(output), *flags],
        ".rs": ["rustc", "-O", str(source), "-o", str(output), *flags],
        ".go": ["go", "build", "-o", str(output), *flags, str(source)],
    }
    command = compilers[source.suffix]
    if not shutil.which(command[0]):
        pytest.skip(f"no {command[0]} here")
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """built(source, *flags): one of the programs, compiled once a session."""
    directory = tmp_path_factory.mktemp("unwind")

    def built_(source: str, *flags: str) -> Path:
        output = directory / "-".join(
            (source.replace(".", "-"), *(flag.strip("-").replace(",", "-") for flag in flags))
        )
        if not output.exists():
            _built(PROGRAMS / source, output, flags)
        return output

    return built_


@pytest.fixture
def start() -> Iterator[Callable[..., int]]:
    """start(*command): the pid of a program that has said it is ready; killed after the test."""
    started: list[subprocess.Popen[str]] = []

    def start_(*command: str | Path) -> int:
        program = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True)
        started.append(program)
        assert program.stdout
        assert program.stdout.readline() == "ready\n"
        return program.pid

    yield start_
    for program in started:
        program.kill()
        program.wait()
        assert program.stdout
        program.stdout.close()
