"""`rover record` and `rover replay` as people use them: ended by force, refused, shown, stored and checked."""

import json
import os
import stat
import subprocess
import time
from pathlib import Path

import pytest
from end_to_end import until
from nginx import Nginx, exchanges

from rover_core.cli.main import run_cli
from rover_network.tape import VERSION


@pytest.mark.kernel
def test_a_recorder_that_is_killed_leaves_what_it_had(begin, rover, nginx: Nginx, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    """Broken: kill -9 costs the recording, others may read it, or what it becomes is not what it was recorded of."""
    file, store = tmp_path / "traffic.rover", tmp_path / "data"
    file.write_text("something that was there before")
    file.chmod(0o644)
    options = ["-o", file, "--duration", 0, "--log-level", "info", "--pid", nginx.process.pid, "--content", "8KB"]
    recorder = begin("record", "network", *options)
    said = []
    for line in recorder.stderr:
        said.append(line)
        if "task started" in line:
            break
    else:
        pytest.fail("".join(said))
    base = f"http://127.0.0.1:{nginx.port}"
    command = [
        "curl",
        "-s",
        "-o",
        "/dev/null",
        "-u",
        "me:hunter2",
        f"{base}/page",
        f"{base}/broken",
        f"{base}/absent",
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)
    until(lambda: file.stat().st_size > 1000)
    time.sleep(2.5)  # until what was counted of it is in the file too
    workers = Path(f"/proc/{recorder.pid}/task/{recorder.pid}/children").read_text().split()
    recorder.kill()
    recorder.wait()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))

    done = rover("replay", file, "--format", "json", "--sample", "4xx,5xx", "--export", "local",
                 "--set", f"exporter.local.directory={store}")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "The recording was not ended: its writer was. What it wrote was used." in done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    logged = {(operation, status): 1 for operation, status, _ in nginx.requests()}
    assert exchanges(records, pid=nginx.process.pid, role="server") == logged
    samples = {record["subject"]: record for record in records if record["type"] == "sample"}
    assert samples.keys() == {"/broken", "/absent"}
    assert "sorry" in samples["/broken"]["response"]["text"]
    assert run_cli(["trace", "--json", "--directory", str(store)]) == 0
    listed = capsys.readouterr().out
    assert {json.loads(line)["subject"] for line in listed.splitlines()} == {"/broken", "/absent"}
    assert "hunter2" not in done.stdout + listed
    page = tmp_path / "page.html"
    assert run_cli(["replay", str(file), "--output", str(page)]) == 0
    assert "Steps and losses" in page.read_text()
    assert run_cli(["replay", str(file), "--check"]) == 0
    assert "http1  1 connections recognised as when they were recorded" in capsys.readouterr().out


def test_what_cannot_be_replayed_or_recorded_is_said_in_one_sentence(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    """Broken: a wrong file, name or option ends in a traceback, or in nothing at all."""
    other = tmp_path / "other"
    other.write_bytes(os.urandom(5000))
    later = tmp_path / "later"
    later.write_bytes(b"rover recording of network 99\n")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(other)
    for arguments, status, words in (
        (("replay", tmp_path / "none"), 1, "No such file"),
        (("replay", tmp_path), 1, "Is a directory"),
        (("replay", other), 1, "it is no recording that an installed plugin can read"),
        (("replay", later), 2, f"it is a recording of version '99', this Rover reads version {VERSION}"),
        (("replay", later, "--export", "nothing"), 2, "there is no exporter 'nothing': there are: "),
        (("replay", later, "--sample", "fast"), 2, "--sample is not usable"),
        (("record", "network"), 2, "Missing option '-o' / '--output'"),
        (("record", "network", "-o", "x", "--max-size", "many"), 2, "--max-size"),
        (("record", "network", "-o", "x", "--max-size", "1KB"), 2, "at least 1MB"),
        (("record", "network", "-o", "x", "--content", "many"), 2, "--content is not usable"),
        (("record", "network", "-o", tmp_path), 2, "it is no regular file"),
        (("record", "network", "-o", tmp_path / "no" / "x"), 1, "No such file"),
        (("record", "network", "-o", tmp_path / "link"), 2, "it is no regular file"),
        (("record", "network", "-o", pipe), 2, "it is no regular file"),
        (("record", "network", "-o", "/dev/null"), 2, "it is no regular file"),
    ):
        result, said = run_cli(list(map(str, arguments))), capsys.readouterr().err
        assert words in said, (arguments, said)
        assert (result, said.count("\n")) == (status, 1), (arguments, said)
    assert len(other.read_bytes()) == 5000
