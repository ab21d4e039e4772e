"""Rover as an ordinary user with five capabilities and no more: all of it works, and doctor names what is missing."""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from end_to_end import ENVIRONMENT, complaint, folded

import rover_core
from rover_bpf.features import CAPABILITIES

pytestmark = pytest.mark.kernel
ROOT = Path(rover_core.__file__).parents[1]
USER = "nobody"
AsUser = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that any user may enter, with a command `rover` and an empty `work`.

    The code may lie where that user may not look (/root); it is mounted on `code`, in a namespace of each run's own.
    """
    folder = Path(tempfile.mkdtemp(prefix="rover-user-"))
    folder.chmod(0o755)
    (folder / "code").mkdir()
    (folder / "work").mkdir()
    (folder / "work").chmod(0o777)
    paths = [entry.replace(str(ROOT), str(folder / "code"), 1) for entry in sys.path if entry.startswith(str(ROOT))]
    command = folder / "rover"
    # In the environment too: what writes the files is a Python process of its own.
    command.write_text(
        f"#!/usr/bin/python3\nimport os, sys\nsys.path[:0] = {paths}\n"
        f"os.environ['PYTHONPATH'] = {':'.join(paths)!r}\nfrom rover_core.cli import main\nmain()\n"
    )
    command.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def as_user(place: Path) -> AsUser:
    """as_user(capabilities, *arguments) runs `rover` as nobody with these capabilities."""

    def run(names: Any, *arguments: object) -> "subprocess.CompletedProcess[str]":
        wanted = ",".join("+" + name.removeprefix("CAP_").lower() for name in names)
        grant = ["--inh-caps", wanted, "--ambient-caps", wanted] if wanted else []
        user = ["setpriv", "--reuid", USER, "--regid", "nogroup", "--clear-groups", *grant]
        return in_place(place, [*user, str(place / "rover"), *map(str, arguments)])

    return run


def in_place(place: Path, command: list[str], **environment: str) -> "subprocess.CompletedProcess[str]":
    script = 'mount --bind "$0" "$1" && shift && exec "$@"'
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", script, str(ROOT), str(place / "code"), *command],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        cwd=place / "work",
        env={**ENVIRONMENT, **environment},
    )


KERNEL_WORK = "i=0; while :; do read line </proc/self/maps; done"


def test_five_capabilities_are_enough_to_profile(as_user: AsUser, spinning: int, start: Any) -> None:
    """Broken: Rover has to run as root, or another user's frames have no names."""
    busy = start("sh", "-c", KERNEL_WORK).pid
    targets = ("--pid", spinning, "--pid", busy)
    result = as_user(
        CAPABILITIES, "profile", "oncpu", *targets, "--duration", "1", "--format", "folded", "--output", "-"
    )
    assert result.returncode == 0, result.stderr
    frames = {frame for stack in folded(result.stdout) for frame in stack}
    assert "burn_a_while" in frames
    kernel = {frame for frame in frames if frame.endswith("_[k]")}
    assert kernel, "the shell's system calls were not seen"
    assert any("+0x" not in frame for frame in kernel)


def test_five_capabilities_are_enough_for_the_agent(as_user: AsUser, spinning: int, place: Path) -> None:
    """Broken: the service has to run as root."""
    result = as_user(CAPABILITIES, "run", "--duration", "1", "--no-demo")
    assert result.returncode == 0, result.stderr
    assert "burn_a_while" in result.stdout
    assert list((place / "work/rover-data").glob("*.html")), result.stderr


def test_doctor_is_content_with_five_capabilities(as_user: AsUser) -> None:
    """Broken: doctor asks for more than is needed."""
    result = as_user(CAPABILITIES, "doctor")
    assert result.returncode == 0, result.stdout
    assert "by perf event cpu-clock" in result.stdout
    assert not re.search(r"^(warn|FAIL)  CAP_", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("missing", CAPABILITIES)
def test_doctor_names_each_missing_capability(missing: str, as_user: AsUser) -> None:
    """Broken: doctor does not name what is missing, calls a host unfit that is fit, or fit that is not."""
    result = as_user([name for name in CAPABILITIES if name != missing], "doctor")
    (line,) = re.findall(rf"^(?:warn|FAIL)  {missing} .*\n.*", result.stdout, re.MULTILINE)
    assert CAPABILITIES[missing][1] in line
    assert "sudo setpriv" in line
    assert f"AmbientCapabilities={missing}" in line
    works = "ok    on-CPU profiling" in result.stdout
    assert result.returncode == (0 if works else 1), result.stdout
    assert works == (missing not in ("CAP_BPF", "CAP_PERFMON"))


def test_the_granting_command_works_when_pasted(as_user: AsUser, place: Path) -> None:
    """Broken: people paste what doctor prints, and it fails."""
    printed = as_user((), "doctor").stdout
    (command,) = set(re.findall(r"-> sudo (setpriv .*?) \(in a systemd unit", printed))
    assert str(place / "rover") in command
    # Their shell has filled these in before sudo makes them root.
    pasted = command.replace("$USER", USER).replace("$(id -g)", "65534")
    result = in_place(place, ["sh", "-c", pasted])
    assert result.returncode == 0, result.stdout + result.stderr
    assert "This host can be profiled: 0 problems" in result.stdout


def test_without_any_capability_the_way_out_is_named(as_user: AsUser, spinning: int) -> None:
    """Broken: an ordinary user reads a compiler's complaint."""
    sentence = complaint(as_user((), "profile", "oncpu", "--pid", spinning, "--duration", "1"), 1)
    for part in ("Operation not permitted", "CAP_BPF", "CAP_PERFMON", "root", "`rover doctor`"):
        assert part in sentence
    assert "did not compile" not in sentence


def test_what_could_not_be_recorded_leaves_files_as_they_were(as_user: AsUser, place: Path) -> None:
    """Broken: a recording of nothing is said to hold what was said, all of it, and only then that it failed; or it
    costs an earlier one."""
    work = place / "work"
    before = {each.name for each in work.iterdir()}
    (work / "earlier.rover").write_text("a recording")
    (work / "earlier.rover").chmod(0o666)
    for name in ("nothing.rover", "earlier.rover"):
        complaint(as_user((), "record", "network", "-o", name, "--duration", "1"), 1)
    assert {each.name for each in work.iterdir()} == {*before, "earlier.rover"}
    assert (work / "earlier.rover").read_text() == "a recording"


def test_watching_needs_what_profiling_will_need(as_user: AsUser, spinning: int) -> None:
    """Broken: `rover watch` of an ordinary user waits for hours for what it may not profile; or it asks for more
    rights than profiling needs."""
    watch = ("watch", "--threads", "1000", "--pid", spinning, "--duration", "2")
    sentence = complaint(as_user((), *watch), 1)
    assert sentence.startswith("nothing can be profiled here: CAP_BPF missing")
    for part in ("CAP_PERFMON missing", "run as root", "`rover doctor`"):
        assert part in sentence
    result = as_user(CAPABILITIES, *watch)
    assert (result.returncode, result.stderr) == (0, "")
    assert "PROCESS_THREAD_COUNT" in result.stdout


def test_an_output_of_others_is_refused_before_the_work(as_user: AsUser, tmp_path: Path) -> None:
    """Broken: it is found out after a minute of profiling that the result may not be written."""
    tmp_path.chmod(0o755)
    result = as_user(CAPABILITIES, "profile", "oncpu", "--duration", "80", "--output", tmp_path / "x.html")
    assert complaint(result, 1) == f"cannot write {tmp_path}/x.html: Permission denied; use another --output"
