"""Go's compilers: the one that is installed, and others that its module proxy has."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def find_go() -> str:
    """The installed one's path. Without one the test is skipped; where all tests must run, it fails."""
    found = shutil.which("go")
    if not found:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("go is not installed")
    return str(found)


def go_setting(name: str) -> str:
    """As `go env` says it."""
    return subprocess.run([find_go(), "env", name], capture_output=True, text=True, check=True).stdout.strip()


def build_go(source: Path, program: Path, *flags: str, release: str = "local") -> Path:
    """Compile one file. release: `go1.21.13`, which is fetched if it is not at hand."""
    # What is set for the installed one may be no setting of an older one.
    environment = {
        **os.environ,
        "GOENV": "off",
        "GOFLAGS": "",
        "GOPROXY": go_setting("GOPROXY"),
        "GOTOOLCHAIN": release,
    }
    command = [find_go(), "build", *flags, "-o", str(program), source.name]
    done = subprocess.run(
        command, cwd=source.parent, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return program
