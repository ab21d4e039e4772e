"""`rover symbols` as it is typed: what a process's names come from, and what is said where there are none."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from end_to_end import complaint

Rover = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def sleeper() -> Iterator[int]:
    with subprocess.Popen(["sh", "-c", "echo ready; exec 1>&-; read line"], stdin=-1, stdout=-1) as process:
        assert process.stdout
        process.stdout.readline()
        yield process.pid
        process.kill()


def test_every_executable_mapping_is_listed(rover: Rover, sleeper: int) -> None:
    """Broken: parts of a process are left out, and nobody learns that their names will be missing."""
    result = rover("symbols", "--pid", sleeper, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    listed = json.loads(result.stdout)
    with open(f"/proc/{sleeper}/maps") as lines:
        wanted = [line.split() for line in lines if line.split()[1][2] == "x"]
    found = {(f"{m['start']:08x}-{m['end']:08x}", m["path"]) for m in listed["mappings"] if m["path"] != "[kernel]"}
    assert found == {(fields[0], fields[5] if len(fields) > 5 else "[anon]") for fields in wanted}
    for mapping in listed["mappings"]:
        assert bool(mapping["functions"]) == bool(mapping["origins"])
        assert mapping["functions"] or mapping["reason"]
    assert 0 < listed["memory"]["bytes_used"] <= listed["memory"]["max_bytes"]
    assert listed["profilable"] is not listed["not_profilable_because"].startswith("its")


def test_build_ids_are_those_that_readelf_shows(rover: Rover, sleeper: int) -> None:
    """Broken: one installs the debug symbols of another build, as told."""
    mappings = json.loads(rover("symbols", "--pid", sleeper, "--json").stdout)["mappings"]
    libc = next(mapping for mapping in mappings if "libc.so" in mapping["path"])
    notes = subprocess.run(["readelf", "-n", libc["path"]], capture_output=True, text=True, check=True).stdout
    assert f"Build ID: {libc['build_id']}" in notes


def test_the_table_says_what_is_missing_and_what_helps(rover: Rover, sleeper: int) -> None:
    """Broken: whoever sees `[unknown]` in a flame graph is not told what to do about it."""
    result = rover("symbols", "--pid", sleeper)
    assert result.stdout.startswith("ADDRESSES")
    assert "stripped" in result.stdout
    assert "-> install its debug symbols" in result.stdout
    assert "tables take" in result.stdout
    assert "Profilable by a backend's tasks (support_ebpf_profiling): yes" in result.stdout


@pytest.mark.parametrize(("arguments", "said"), [
    (["--pid", "4194303"], "there is no process 4194303"),
    (["--pid", "2"], "2 is a thread of the kernel"),
    (["--pid", "x"], "'x' is not a valid integer"),
    ([], "Missing option '--pid'"),
])  # fmt: skip
def test_what_there_is_not_is_one_clear_sentence(rover: Rover, arguments: list[str], said: str) -> None:
    """Broken: a typing mistake is answered by a traceback."""
    assert said in complaint(rover("symbols", *arguments), 2)


@pytest.mark.skipif(os.getuid() != 0, reason="needs to become somebody else")
def test_other_peoples_processes_are_refused_with_a_remedy(rover: Rover, sleeper: int) -> None:
    """Broken: without privileges one gets an empty table and no hint."""
    prefix: Any = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all"]
    result = rover("symbols", "--pid", sleeper, prefix=prefix)
    if "setpriv" in result.stderr or "rover: " not in result.stderr:
        pytest.skip(result.stderr)
    assert "run as root, or grant CAP_SYS_PTRACE" in complaint(result, 1)
