"""The real command against the real kernel: what a person at a terminal, or a service manager, gets."""

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from end_to_end import ENVIRONMENT, ROVER
from nginx import Nginx

Rover = Callable[..., "subprocess.CompletedProcess[str]"]
Begin = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def rover(tmp_path: Path) -> Rover:
    """rover("profile", "oncpu", ..., prefix=[command, ...], env={...}) runs it to its end in an empty folder."""

    def run(
        *arguments: object, prefix: Any = (), env: Any = None, **options: Any
    ) -> "subprocess.CompletedProcess[str]":
        command = [*map(str, prefix), str(ROVER), *map(str, arguments)]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": tmp_path, **options}
        environment = {**ENVIRONMENT, **(env or {})}
        return subprocess.run(command, text=True, timeout=90, check=False, env=environment, **options)

    return run


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """begin("run", ...) starts it in a process group of its own, as a shell does; ended with the test, by pid."""
    running: list[subprocess.Popen[str]] = []

    def run(*arguments: object, **options: Any) -> "subprocess.Popen[str]":
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": tmp_path, "env": ENVIRONMENT, **options}
        command = [str(ROVER), *map(str, arguments)]
        running.append(subprocess.Popen(command, text=True, process_group=0, **pipes))
        return running[-1]

    yield run
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def spinning(build: Any, start: Any) -> int:
    """The pid of a process that burns CPU in `burn_a_while` for as long as the test takes."""
    pid: int = start(build("spin.c"), "120000").pid
    return pid


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    folder = tmp_path / "nginx"
    folder.mkdir()
    tmp_path.chmod(0o755)
    server = Nginx(folder)
    yield server
    server.process.send_signal(signal.SIGQUIT)
    server.process.wait(timeout=20)
