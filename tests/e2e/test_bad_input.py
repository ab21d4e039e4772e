"""What people get wrong and hosts lack: one sentence with the thing, the reason and the remedy, and nothing lost."""

import os
import pty
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from end_to_end import ROVER, complaint, folded

from rover_bpf.loader import ProgramSource, load
from rover_core.errors import RoverError

pytestmark = pytest.mark.kernel
ONCPU = ("profile", "oncpu", "--duration", "300ms")


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--pid", "0"], ["no process 0", "from 1 to"]),
        (["--pid", "-4"], ["no process -4", "from 1 to"]),
        (["--pid", "99999999999999999999"], ["no process 99999999999999999999", "from 1 to"]),
        (["--pid", "4194303"], ["no process 4194303", "`rover processes`"]),
        (["--pid", "me"], ["'me' is not a valid integer", "--pid", "--help"]),
        (["--comm", "no-such-name"], ["no process is named 'no-such-name'", "`rover processes`"]),
        (["--all", "--pid", "1"], ["--all contradicts", "leave one of them out"]),
        (["--duration", "soon"], ["'soon' is not a duration", "for example 10s"]),
        (["--duration", "-3s"], ["'-3s' is not a duration"]),
        (["--period", "1us"], ["period of 1us", "shortest is 100us", "9ms"]),
        (["--period", "10s"], ["period of 10s", "longest 1s"]),
        (["--period", "0"], ["period of 0 is not usable"]),
        (["--period", "fast"], ["'fast' is not a duration", "--period"]),
        (["--format", "svg"], ["no format 'svg'", "html, folded, pprof, speedscope, table"]),
        (["--output", "x.svg"], ["'x.svg' does not tell its format", ".pb.gz", "--format"]),
        (["--format", "table", "--output", "x"], ["standard output", "redirect"]),
        (["--set", "profiling.flush_interval=quick"], ["'quick' is not a duration", "flush_interval"]),
        (["--set", "profiling.flush_intervall=1s"], ["did you mean profiling.flush_interval"]),
        (["--no-such-option"], ["No such option", "--help"]),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) and str(value[0]).startswith("-") else "",
)
def test_usage_is_explained(arguments: list[str], wanted: list[str], rover: Any) -> None:
    """Broken: a mistake on the command line is a traceback, a riddle, or exits with another status than 2."""
    sentence = complaint(rover(*ONCPU, *arguments), 2)
    for part in wanted:
        assert part in sentence


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], ["nothing to watch for", "--cpu 80"]),
        (["--cpu", "many"], ["'many' is not a valid float", "--cpu", "--help"]),
        (["--cpu", "1", "--pid", "4194303"], ["no process 4194303", "`rover processes`"]),
        (["--cpu", "1", "--then", "heap"], ["no profiler 'heap'", "oncpu", "`rover plugins`"]),
        (["--http-errors", "1", "--uri-regex", "("], ["--uri-regex", "'('"]),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) and value and value[0].startswith("-") else "",
)
def test_usage_of_watch_is_explained(arguments: list[str], wanted: list[str], rover: Any) -> None:
    """Broken: a mistake on the command line is found out by waiting, or exits with another status than 2."""
    sentence = complaint(rover("watch", *arguments), 2)
    for part in wanted:
        assert part in sentence


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("/proc/x.html", "No such file"),
        ("missing-folder/x.html", "No such file"),
        (".", "Is a directory"),
    ],
)
def test_an_output_that_cannot_be_is_found_before_the_work(output: str, reason: str, rover: Any) -> None:
    """Broken: a minute of profiling, and only then it is said that the folder does not exist."""
    began = time.monotonic()
    sentence = complaint(rover("profile", "oncpu", "--duration", "80", "--format", "html", "--output", output), 1)
    assert time.monotonic() - began < 60
    assert sentence.startswith(f"cannot write {output}: {reason}")
    assert "--output" in sentence


def test_a_thread_is_not_a_process(rover: Any) -> None:
    """Broken: a thread's number is taken for a process's, and nothing is ever seen of it."""
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        sentence = complaint(rover(*ONCPU, "--pid", thread.native_id), 2)
    finally:
        stop.set()
        thread.join()
    assert sentence.startswith(f"{thread.native_id} is a thread, not a process")
    assert f"use --pid {os.getpid()}" in sentence


@pytest.mark.parametrize("profiler", ["continuous", "nonsense"])
def test_an_unknown_profiler_names_the_extra(profiler: str, rover: Any) -> None:
    """Broken: nobody learns what to install."""
    sentence = complaint(rover("profile", profiler, env={"ROVER_DISABLED_PLUGINS": "offcpu"}), 2)
    assert f"no profiler '{profiler}'" in sentence
    assert "pip install 'rover-agent[" in sentence


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("profiling: {flush_interval: 5 bananas}", "flush_interval: '5 bananas' is not a duration"),
        ("profiling: {flush_interval: [1]}", "line 1: profiling.flush_interval"),
        ("profiling: {flush: 5s}", "there is no such key"),
        ("pipeline: {queue_size: many}", "'many' is not a whole number"),
        (": : :\n\t-", "is not YAML"),
    ],
)
@pytest.mark.parametrize("command", [("run",), ("profile", "oncpu")])
def test_a_faulty_configuration(command: tuple[str, ...], text: str, wanted: str, rover: Any, tmp_path: Path) -> None:
    """Broken: a mistake in the file is a traceback, names no line, or is ignored."""
    (tmp_path / "rover.yaml").write_text(text)
    result = rover(*command, "-c", "rover.yaml", "--duration", "300ms")
    assert wanted in complaint(result, 2)


def test_a_configuration_without_any_installed_profiler(rover: Any, tmp_path: Path) -> None:
    """Broken: an agent that does nothing, and does not say so."""
    (tmp_path / "rover.yaml").write_text("profiling: {standalone: FOO}")
    sentence = complaint(rover("run", "-c", "rover.yaml", "--duration", "300ms"), 1)
    assert "of the profilers FOO none is installed" in sentence
    assert "pip install" in sentence


def test_a_missing_configuration(rover: Any) -> None:
    """Broken: a mistyped path runs with defaults."""
    assert "nowhere.yaml" in complaint(rover("run", "-c", "nowhere.yaml", "--duration", "300ms"), 2)


def test_a_full_disk_keeps_the_profile_elsewhere(rover: Any, spinning: int, tmp_path: Path) -> None:
    """Broken: an hour of profiling is lost to a full disk, or half a file is left."""
    full = tmp_path / "full"
    full.mkdir()
    # The file system is the mount namespace's, and goes with it.
    script = 'mount -t tmpfs -o size=8k tmpfs "$0" && "$@"; status=$?; ls -A "$0"; exit $status'
    prefix = ["unshare", "-m", "sh", "-c", script, full]
    result = rover(*ONCPU, "--pid", spinning, "--output", full / "x.html", prefix=prefix)
    sentence = complaint(result, 1)
    assert sentence.startswith(f"cannot write {full}/x.html: No space left on device. The result was saved as ")
    saved = Path(sentence.rpartition(" ")[2])
    assert "burn_a_while" in saved.read_text()
    saved.unlink()
    assert result.stdout == "", "half a file"


def test_a_full_standard_output(rover: Any, spinning: int) -> None:
    """Broken: `rover profile ... --output - > file` on a full disk is a traceback, and all is lost."""
    with open("/dev/full", "w") as full:
        result = rover(*ONCPU, "--pid", spinning, "--format", "folded", "--output", "-", stdout=full)
        sentence = complaint(result, 1)
        table = rover(*ONCPU, "--pid", spinning, "--format", "table", stdout=full)
    assert "No space left on device" in sentence
    saved = Path(sentence.rpartition(" ")[2])
    assert "burn_a_while" in str(folded(saved.read_text()))
    saved.unlink()
    assert "cannot write to standard output" in table.stderr
    assert table.returncode == 1


@pytest.mark.parametrize("how", ["full", "closed"])
def test_a_standard_error_that_takes_nothing(how: str, rover: Any, spinning: int) -> None:
    """Broken: the agent ends because nobody can read its log."""
    script = 'exec "$@" 2>/dev/full' if how == "full" else 'exec "$@" 2>&-'
    prefix = ["sh", "-c", script, "sh"]
    result = rover(*ONCPU, "--pid", spinning, "--format", "folded", "--output", "-", prefix=prefix)
    assert result.returncode == 0
    assert "burn_a_while" in str(folded(result.stdout))
    assert rover("run", "--duration", "300ms", prefix=prefix).returncode == 0


def test_a_reader_who_leaves_is_no_error(rover: Any, spinning: int) -> None:
    """Broken: `rover profile ... | head -1` ends in a traceback."""
    prefix = ["sh", "-c", '"$@" | true', "sh"]
    result = rover(*ONCPU, "--pid", spinning, "--format", "folded", "--output", "-", prefix=prefix)
    assert "Traceback" not in result.stderr


def test_a_file_that_was_there_is_kept_until_the_new_one_is_whole(rover: Any, spinning: int, tmp_path: Path) -> None:
    """Broken: a failed run destroys the previous result."""
    full, old = tmp_path / "full", tmp_path / "full/x.html"
    full.mkdir()
    script = 'mount -t tmpfs -o size=8k tmpfs "$0"; echo old >"$0/x.html"; "$@"; code=$?; cat "$0/x.html"; exit $code'
    result = rover(*ONCPU, "--pid", spinning, "--output", old, prefix=["unshare", "-m", "sh", "-c", script, full])
    assert result.returncode == 1
    assert result.stdout == "old\n"
    Path(result.stderr.strip().rpartition(" ")[2]).unlink()


def test_binary_data_is_kept_from_a_terminal(spinning: int, tmp_path: Path) -> None:
    """Broken: a terminal is spoilt."""
    parent, child = pty.openpty()
    command = [ROVER, *ONCPU, "--pid", str(spinning), "--format", "pprof", "--output", "-"]
    result = subprocess.run(
        command, stdout=child, stderr=subprocess.PIPE, text=True, cwd=tmp_path, timeout=60, check=False
    )
    os.close(child)
    os.close(parent)
    assert complaint(result, 2) == "pprof is binary and would spoil the terminal; use --output FILE"


@pytest.mark.parametrize("what", ["empty", "missing"])
def test_a_kernel_without_btf(what: str, rover: Any, tmp_path: Path) -> None:
    """Broken: on a kernel without type information people read a compiler's complaints."""
    script = {
        "empty": 'mount --bind /dev/null /sys/kernel/btf/vmlinux && exec "$@"',
        "missing": f'mount --bind {tmp_path} /sys/kernel/btf && exec "$@"',
    }[what]
    prefix = ["unshare", "-m", "sh", "-c", script, "sh"]
    sentence = complaint(rover(*ONCPU, prefix=prefix), 1)
    assert "/sys/kernel/btf/vmlinux" in sentence
    assert "CONFIG_DEBUG_INFO_BTF" in sentence
    doctor = rover("doctor", prefix=prefix)
    assert doctor.returncode == 1
    assert "FAIL  BTF" in doctor.stdout
    assert "CONFIG_DEBUG_INFO_BTF" in doctor.stdout


def test_a_machine_without_bcc(rover: Any, tmp_path: Path) -> None:
    """Broken: nobody learns which package is missing, or installs its namesake."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    for interpreter in (python, "/nonexistent/python"):
        sentence = complaint(rover(*ONCPU, env={"ROVER_BCC_PYTHON": str(interpreter)}), 1)
        assert "apt-get install python3-bpfcc" in sentence
        assert str(interpreter) in sentence
    doctor = rover("doctor", env={"ROVER_BCC_PYTHON": str(python)})
    assert doctor.returncode == 1
    assert "FAIL  BCC" in doctor.stdout


@pytest.mark.parametrize(("end", "said"), [("kill -9 $$", "SIGKILL"), ("echo oh dear >&2; exit 3", "oh dear")])
def test_a_loader_that_ends_half_way(end: str, said: str, rover: Any, tmp_path: Path) -> None:
    """Broken: the kernel's out-of-memory killer leaves the agent waiting, or without an explanation."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\n[ "$2" = -c ] && exit 0\n{end}\n')
    python.chmod(0o755)
    sentence = complaint(rover(*ONCPU, env={"ROVER_BCC_PYTHON": str(python)}), 1)
    assert sentence.startswith("the loader of eBPF programs did not finish")
    assert said in sentence


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return undeclared;", "error: use of undeclared identifier 'undeclared'"),
        ("volatile int *p = (int *)8; return *p;", "invalid mem access"),
    ],
)
def test_compiler_and_verifier_are_quoted(body: str, said: str, tmp_path: Path) -> None:
    """Broken: who writes an eBPF program is not told what the compiler or the kernel disliked."""
    source = tmp_path / "bad.bpf.c"
    source.write_text(f"#include <uapi/linux/ptrace.h>\nint tick(struct pt_regs *ctx) {{ {body} }}\n")
    with pytest.raises(RoverError) as raised:
        load(ProgramSource(source, {"tick": "KPROBE"}))
    assert said in str(raised.value)
