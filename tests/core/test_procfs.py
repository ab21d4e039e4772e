"""Processes out of /proc, and out of a made-up one where the kernel cannot be asked to behave badly."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover_core import procfs
from rover_core.model import ProcessKey
from rover_core.procfs import ProcessTable, process_key, read_process, scan


def put(
    root: Path, pid: int, comm: bytes = b"app", *, state: str = "S", threads: int = 1, stack: int = 7, **files: bytes
) -> Path:
    """A made-up process; fields as proc(5) numbers them from 3."""
    place = root / str(pid)
    place.mkdir(exist_ok=True)
    flags = 0x00200040 if files.pop("kernel", b"") else 0x400000
    fields = [
        state,
        "1",
        *["0"] * 4,
        str(flags),
        *["0"] * 10,
        str(threads),
        "0",
        "555",
        "0",
        "0",
        "0",
        "1",
        "2",
        str(stack),
    ]
    (place / "stat").write_bytes(b"%d (%s) " % (pid, comm) + " ".join([*fields, *["0"] * 24]).encode())
    (place / "cmdline").write_bytes(files.get("cmdline", b""))
    return place


def test_this_process_is_read_right() -> None:
    """Broken: field numbers, names or owners are off."""
    process = read_process(os.getpid())
    assert process is not None
    assert process.key == process_key(os.getpid())
    assert (process.ppid, process.uid, process.kernel_thread) == (os.getppid(), os.geteuid(), False)
    assert process.exe == os.path.realpath("/proc/self/exe")
    assert process.cmdline == tuple(Path("/proc/self/cmdline").read_text().rstrip("\0").split("\0"))
    assert process in scan()


def test_start_ticks_are_field_22() -> None:
    """Broken: a reused pid is taken for the process that had it before."""
    key = process_key(os.getpid())
    assert key is not None
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    age = uptime - key.start_ticks / os.sysconf("SC_CLK_TCK")
    assert 0 <= age < 3600


def test_there_is_no_process_with_that_pid() -> None:
    """Broken: asking for a process that is gone raises."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert read_process(child.pid) is None
    assert process_key(child.pid) is None


def test_kernel_threads_are_recognised(tmp_path: Path) -> None:
    """Broken: kernel threads are taken for programs, or programs without command line for kernel threads."""
    put(tmp_path, 2, b"kworker/0:1", kernel=b"yes")
    put(tmp_path, 3, b"app")
    first, second = scan(tmp_path)
    assert (first.kernel_thread, first.name, first.exe, first.cmdline) == (True, "kworker/0:1", None, ())
    assert not second.kernel_thread


@given(comm=st.binary(min_size=0, max_size=15).filter(lambda name: b"\0" not in name))
def test_any_name_is_survived(tmp_path_factory: pytest.TempPathFactory, comm: bytes) -> None:
    """Broken: a process called `a) R 1 (b` or `\\xff` shifts the fields or stops the scan."""
    root = tmp_path_factory.mktemp("proc")
    put(root, 9, comm)
    (process,) = scan(root)
    assert process.comm == comm.decode(errors="replace")
    assert process.key == ProcessKey(9, 555)


def test_names_that_are_not_utf8_are_shown_replaced(tmp_path: Path) -> None:
    """Broken: a name cannot be printed or sent (lone surrogates are not UTF-8)."""
    put(tmp_path, 9, b"caf\xe9", cmdline=b"/bin/caf\xe9\0\0-x\0")
    (process,) = scan(tmp_path)
    assert process.comm == "caf\ufffd"
    assert process.cmdline == ("/bin/caf\ufffd", "", "-x")
    assert process.comm.encode()


def test_the_dead_are_left_out(tmp_path: Path) -> None:
    """Broken: zombies are profiled, or a process whose main thread has ended is lost."""
    put(tmp_path, 5, state="Z")
    put(tmp_path, 6, state="Z", threads=3)
    assert [process.pid for process in scan(tmp_path)] == [6]


def test_half_written_and_empty_files_are_left_out(tmp_path: Path) -> None:
    """Broken: a process that vanishes while it is read stops the scan."""
    (tmp_path / "5").mkdir()
    put(tmp_path, 6).joinpath("stat").write_bytes(b"6 (x) S 1")
    put(tmp_path, 7)
    assert [process.pid for process in scan(tmp_path)] == [7]


def test_processes_may_come_and_go_during_a_scan() -> None:
    """Broken: a busy build machine makes discovery raise."""
    over = threading.Event()

    def churn() -> None:
        while not over.is_set():
            subprocess.run(["/bin/true"], check=True)

    thread = threading.Thread(target=churn)
    thread.start()
    table, end = ProcessTable(), time.monotonic() + 1
    while time.monotonic() < end:
        assert os.getpid() in {process.pid for process in table.scan()}
    over.set()
    thread.join()


def test_a_known_process_costs_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: every scan reads everything again."""
    put(tmp_path, 5, cmdline=b"a")
    table = ProcessTable(tmp_path)
    table.scan()
    (settled,) = table.scan()
    reads: list[str] = []
    read = procfs._read
    monkeypatch.setattr(procfs, "_read", lambda path: (reads.append(path), read(path))[1])
    (again,) = table.scan()
    assert again is settled
    assert reads == [f"{tmp_path}/5/stat"]


def test_exec_and_early_renames_are_noticed(tmp_path: Path) -> None:
    """Broken: after a shell has exec'ed the service it is still listed as the shell."""
    table = ProcessTable(tmp_path)
    put(tmp_path, 5, b"sh", cmdline=b"sh")
    table.scan()
    put(tmp_path, 5, b"sh", cmdline=b"worker")
    assert table.scan()[0].cmdline == ("worker",), "looked at twice"
    put(tmp_path, 5, b"sh", cmdline=b"script", stack=8)
    assert table.scan()[0].cmdline == ("script",), "exec gives a new image even under the same name"


def test_a_real_exec_is_noticed() -> None:
    """Broken: address space randomisation or the field numbers are not what the cache relies on."""
    with subprocess.Popen(["/bin/sh", "-c", "read x; exec sleep 60"], stdin=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        table = ProcessTable()
        table.scan()
        before = {process.pid: process for process in table.scan()}[child.pid]
        child.stdin.write("\n")
        child.stdin.flush()
        deadline = time.monotonic() + 10
        # In the middle of an exec the name is new and the command line empty; the next scan puts that right.
        while (after := {process.pid: process for process in table.scan()}[child.pid]).cmdline != ("sleep", "60"):
            assert time.monotonic() < deadline
        assert (after.key, after.comm) == (before.key, "sleep")
        child.kill()


def test_the_root_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: in a container the agent sees its own processes instead of the host's."""
    put(tmp_path, 77)
    monkeypatch.setenv("ROVER_HOST_PROC_MAPPING", str(tmp_path))
    assert [process.pid for process in scan()] == [77]


def test_long_command_lines_are_whole(tmp_path: Path) -> None:
    """Broken: a Java command line is cut at one page."""
    line = b"\0".join([b"x" * 1000] * 200)
    put(tmp_path, 5, cmdline=line)
    assert len(scan(tmp_path)[0].cmdline) == 200
