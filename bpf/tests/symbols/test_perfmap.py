import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rover_bpf.symbols import Symbolizer
from rover_bpf.symbols.jit import Compiled, compact, merge
from rover_bpf.symbols.perfmap import PerfMap
from rover_bpf.symbols.table import EMPTY, SymbolTable
from rover_core.model import ProcessKey

PID = 4711
LIMIT = 1 << 20


@pytest.fixture
def process(tmp_path: Path) -> Path:
    """A directory like /proc/<pid> of a process that is pid 7 in its container."""
    (tmp_path / "root" / "tmp").mkdir(parents=True)
    uid = os.getuid()
    (tmp_path / "status").write_text(f"Name:\tjit\nPid:\t{PID}\nNSpid:\t{PID}\t7\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")
    return tmp_path


@pytest.fixture
def file(process: Path) -> Path:
    return process / "root" / "tmp" / "perf-7.map"


def name(symbols: SymbolTable, address: int) -> str | None:
    found = symbols.find(address)
    return found[0] if found else None


def test_lines_are_names_with_spaces(process: Path, file: Path) -> None:
    file.write_text("1000 20 LazyCompile:*hot /srv/app.js:1:13\n0x2000 0x10 py::main:/srv/app.py\n")
    perf_map = PerfMap(process, LIMIT)
    assert perf_map.refresh()
    assert name(perf_map.symbols, 0x101F) == "LazyCompile:*hot /srv/app.js:1:13"
    assert name(perf_map.symbols, 0x1020) is None
    assert name(perf_map.symbols, 0x2000) == "py::main:/srv/app.py"


def test_only_what_was_appended_is_read_again(process: Path, file: Path) -> None:
    file.write_text("1000 20 one\n2000 20 tw")
    perf_map = PerfMap(process, LIMIT)
    assert perf_map.refresh()
    assert not perf_map.refresh()
    assert name(perf_map.symbols, 0x2000) is None
    # Were the beginning read again, its new content would show.
    with file.open("r+") as again:
        again.write("1000 20 ONE")
    with file.open("a") as more:
        more.write("o\n3000 20 three\n")
    assert perf_map.refresh()
    assert [name(perf_map.symbols, n) for n in (0x1000, 0x2000, 0x3000)] == ["one", "two", "three"]


def test_a_file_that_was_replaced_is_read_from_its_beginning(process: Path, file: Path) -> None:
    file.write_text("1000 20 one\n2000 20 two\n")
    perf_map = PerfMap(process, LIMIT)
    perf_map.refresh()
    file.unlink()
    file.write_text("3000 20 three\n")
    assert perf_map.refresh()
    assert [name(perf_map.symbols, n) for n in (0x1000, 0x3000)] == [None, "three"]


def test_junk_is_skipped(process: Path, file: Path) -> None:
    junk = [
        b"",
        b"zz 10 bad",
        b"1000",
        b"1000 10",
        b"ffffffffffffffff 10 wraps",
        b"5000 0 empty",
        b"\xff\xfe\0",
        b"- -",
    ]
    file.write_bytes(b"\n".join([*junk, b"x" * 600_000, b"1000 20 good\xff", b""]))
    perf_map = PerfMap(process, LIMIT)
    perf_map.refresh()
    assert len(perf_map.symbols) == 1
    assert name(perf_map.symbols, 0x1000) == "good\N{REPLACEMENT CHARACTER}"


def test_no_line_takes_for_ever(process: Path, file: Path) -> None:
    """Blanks that could be either separator or name would be tried in all ways: 256 000 times 4 096."""
    file.write_bytes(b"1 1 " + b" " * 250_000 + b"x" * 5000 + b"\n" + b"1 " * 100_000 + b"\n1000 20 good\n")
    begun = process_time()
    perf_map = PerfMap(process, LIMIT)
    perf_map.refresh()
    assert process_time() - begun < 0.5
    assert name(perf_map.symbols, 0x1000) == "good"


def test_memory_is_bounded_and_said_so(process: Path, file: Path) -> None:
    file.write_text("".join(f"{n * 64:x} 40 function number {n}\n" for n in range(10_000)))
    perf_map = PerfMap(process, 10_000)
    perf_map.refresh()
    assert perf_map.nbytes <= 10_000
    assert "more than 10000 bytes" in perf_map.reason


def test_code_that_is_replaced_for_ever_needs_no_more_memory(process: Path, file: Path) -> None:
    perf_map = PerfMap(process, 20_000)
    for round_ in range(20):
        with file.open("a") as more:
            more.writelines(f"{n * 64:x} 40 version {round_} of {n}\n" for n in range(200))
        perf_map.refresh()
    assert perf_map.reason == ""
    assert name(perf_map.symbols, 64 * 150) == "version 19 of 150"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_strangers_map_is_not_believed(process: Path, file: Path) -> None:
    """/tmp is everybody's: any user could rename other users' functions."""
    file.write_text("1000 20 lie\n")
    os.chown(file, 12345, 12345)
    perf_map = PerfMap(process, LIMIT)
    assert not perf_map.refresh()
    assert "uid 12345" in perf_map.reason


@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory"])
def test_only_plain_files_are_read(kind: str, process: Path, file: Path) -> None:
    """A FIFO would block the agent; a link out of a container leads to a file of the host's."""
    other = process / "other"
    other.write_text("1000 20 lie\n")
    if kind == "symlink":
        file.symlink_to(other)
    elif kind == "fifo":
        os.mkfifo(file)
    else:
        file.mkdir()
    perf_map = PerfMap(process, LIMIT)
    assert not perf_map.refresh()
    assert perf_map.reason


def test_a_missing_file_or_process_is_no_error(process: Path, tmp_path: Path) -> None:
    assert not PerfMap(process, LIMIT).refresh()
    assert not PerfMap(tmp_path / "gone", LIMIT).refresh()


# Fewer pieces than a look-up goes back over.
CODE = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), max_size=8)


@settings(max_examples=300)
@given(CODE, CODE)
def test_code_whose_beginning_is_intact_is_named(
    earlier: list[tuple[int, int]], later: list[tuple[int, int]]
) -> None:
    """Against a memory of bytes that each piece overwrites."""
    memory: dict[int, tuple[str, int]] = {}
    symbols = EMPTY
    for batch, code in enumerate((earlier, later)):
        new = Compiled()
        for index, (start, size) in enumerate(code):
            new.add(start, size, f"{batch}.{index}".encode())
            memory.update(dict.fromkeys(range(start, start + size), (f"{batch}.{index}", start)))
        symbols = merge(symbols, new) if new.starts else symbols
    packed = compact(symbols)
    for address in range(80):
        owner, start = memory.get(address, (None, 0))
        if owner is None or memory[start][0] == owner:
            assert name(symbols, address) == name(packed, address) == owner


JIT = r"""
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
int main(void) {
    char path[64];
    char *code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    snprintf(path, sizeof path, "/tmp/perf-%d.map", getpid());
    FILE *map = fopen(path, "w");
    fprintf(map, "%lx 40 compiled function\n", (long)code + 256);
    fclose(map);
    printf("compiled %p\nready 0\n", code + 256);
    fflush(stdout);
    getchar();
    unlink(path);
    return 0;
}
"""


def test_a_programs_own_map_names_its_anonymous_code(
    compiled: Callable[..., Path], run: Callable[..., Any], symbolizer: Symbolizer
) -> None:
    program = run(compiled("jit", source=JIT))
    address = program.addresses["compiled"]
    symbolizer.observe(program.key)
    key = program.key
    program.popen.communicate("\n")
    named, unnamed = (symbolizer.user(key, [n])[0] for n in (address + 3, address + 0x41))
    assert (named.symbol, named.module, named.offset) == ("compiled function", "[jit]", 3)
    assert (unnamed.symbol, unnamed.module, unnamed.offset) == (None, "[anon]", address + 0x41)


@pytest.mark.skipif(os.getuid() != 0, reason="needs namespaces of its own")
def test_a_container_has_its_own_pid_and_tmp(compiled: Callable[..., Path], symbolizer: Symbolizer) -> None:
    """The map is called perf-<pid in the container>.map and lies in the container's /tmp."""
    program = compiled("jit", source=JIT)
    # The copy must be seen after /tmp is covered: the program is opened through a directory held open.
    script = f"exec 9<{program.parent}; mount -t tmpfs none /tmp && exec /proc/self/fd/9/{program.name}"
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as outer:
        assert outer.stdout
        line = outer.stdout.readline()
        if not line:
            pytest.skip("no namespaces here")
        address = int(line.split()[1], 16)
        pid = int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()[0])
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        symbolizer.observe(ProcessKey(pid, ticks))
        (frame,) = symbolizer.user(ProcessKey(pid, ticks), [address])
        outer.communicate("\n")
    assert frame.symbol == "compiled function"
